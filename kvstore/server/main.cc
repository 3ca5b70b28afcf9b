// skv-kvstore: the blocks that the workers of a host share.

#include <iostream>

#include "common/flags.h"
#include "kvstore/server/kvstore_process.h"

namespace skv::kvstore {
namespace {

void AddTierFlags(TierFlags* tiers, Flags* flags) {
  flags->Add("nvme-folder", &tiers->nvme_folder,
             "Folder on a local disk where blocks are kept too, so that they outlive this process; "
             "its parent must be there. Empty: none");
  flags->Add("nvme-bytes", &tiers->nvme_bytes, {0, int64_t{1} << 50},
             "Most bytes of blocks there, at least 16 MiB; files take up to 1.3 times as many. 0: "
             "four times the arena, but at most 60 % of what the disk has free or the folder uses");
  flags->Add(
      "nvme-write-bytes-per-second", &tiers->nvme_write_bytes_per_second, {0, int64_t{1} << 40},
      "Most bytes written there, at least 16 MiB; a block counts twice, as it goes through a "
      "log. 0: as many as the disk takes");
  flags->Add("redis", &tiers->redis,
             "Redis or Valkey where hosts share blocks: host:port or unix:///path; set its "
             "maxmemory, and maxmemory-policy allkeys-lru. Whoever can write there is trusted. "
             "Empty: none");
  flags->Add("redis-username", &tiers->redis_username, "Its user; empty: Redis' default one");
  flags->Add("redis-password-file", &tiers->redis_password_file,
             "File whose first line is the password; empty: the environment's SKV_REDIS_PASSWORD, "
             "if any");
  flags->Add("redis-database", &tiers->redis_database, IntRange{0, 1 << 20}, "Its database");
  flags->Add("tier-timeout-ms", &tiers->timeout_ms, {10, 10000},
             "Longest wait for one answer of the disk, of Redis or of a peer");
  flags->Add("scrub-bytes-per-second", &tiers->scrub_bytes_per_second, {0, int64_t{1} << 40},
             "Bytes of the arena compared with their checksums, again and again; 0: none");
}

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
             "gRPC port of Watch, administration and other hosts' stores; 0: any");
  flags->Add("max-watch-streams", &options->max_watch_streams, {1, 4096},
             "Watch calls at one time; more are refused");
  flags->Add("admin-port", &options->admin_port, IntRange{0, 65535},
             "HTTP port of metrics and health; 0: any");
  AddTierFlags(&options->tiers, flags);
  flags->Add(
      "peers", &options->peers,
      "HOST:PORT,...: gRPC ports of other hosts' stores, at most 16, that are asked for what "
      "this store and its own tiers lack, in this order. Whoever answers there is trusted");
  flags->Add("max-read-streams", &options->max_read_streams, {1, 1024},
             "Calls at one time by which other stores read blocks here; more are refused");
  flags->SetExamples(
      "  skv-kvstore --arena-bytes 8589934592 --port 9400 --admin-port 9500\n"
      "  skv-kvstore --socket /run/skv/kvstore.sock --socket-mode 0660 --tenant-quota "
      "batch=1073741824\n"
      "  skv-kvstore --nvme-folder /var/lib/skv --redis cache.internal:6379 "
      "--redis-password-file /run/secrets/redis\n"
      "  skv-kvstore --host 10.0.0.1 --port 9400 --peers 10.0.0.2:9400,10.0.0.3:9400");
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
