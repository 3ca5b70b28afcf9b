// skv-kvstore: the blocks that the workers of a host share.

#include <iostream>

#include "common/flags.h"
#include "kvstore/server/kvstore_process.h"

namespace skv::kvstore {
namespace {

void AddFlags(KvStoreOptions* options, Flags* flags) {
  flags->Add("socket", &options->socket,
             "Path where clients connect; empty: skv-kvstore.sock in $XDG_RUNTIME_DIR, or "
             "/tmp/skv-kvstore-UID.sock");
  flags->AddChoice("socket-mode", &options->socket_mode, {"0600", "0660", "0666"},
                   "Permissions of the socket: who may write to it may connect, and read and "
                   "write all blocks");
  flags->Add("arena-bytes", &options->arena_bytes, {0, int64_t{1} << 47},
             "Memory for blocks, taken at start; 0: a quarter of the machine's");
  flags->Add("max-sessions", &options->max_sessions, {1, 1 << 16},
             "Clients at one time; more are refused");
  flags->Add("max-entries", &options->max_entries, {1, 1 << 24},
             "Sentences; each has a block for every rank, and there are twice as many blocks");
  flags->AddChoice("eviction", &options->eviction, {"s3fifo", "lru"}, "Which sentence goes first");
  flags->Add("tenant-quota", &options->tenant_quotas,
             "NAME=BYTES,...: tenants with room of their own; all others share what there is");
  flags->Add("host", &options->host, "Address to listen on");
  flags->Add("port", &options->port, IntRange{0, 65535},
             "gRPC port of Watch and administration; 0: any");
  flags->Add("max-watch-streams", &options->max_watch_streams, {1, 4096},
             "Watch calls at one time; more are refused");
  flags->Add("admin-port", &options->admin_port, IntRange{0, 65535},
             "HTTP port of metrics and health; 0: any");
  flags->SetExamples(
      "  skv-kvstore --arena-bytes 8589934592 --port 9400 --admin-port 9500\n"
      "  skv-kvstore --socket /run/skv/kvstore.sock --socket-mode 0660 --tenant-quota "
      "batch=1073741824");
}

int Main(int argc, char** argv) {
  KvStoreOptions options;
  Flags flags("skv-kvstore", "Keeps sealed sentence blocks for all workers of a host");
  AddFlags(&options, &flags);
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = RunKvStore(options);
  if (status.ok()) return 0;
  std::cerr << "skv-kvstore: " << status.ToString() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? Flags::kUsageExitCode : 1;
}

}  // namespace
}  // namespace skv::kvstore

int main(int argc, char** argv) { return skv::kvstore::Main(argc, argv); }
