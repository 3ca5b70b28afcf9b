// skv-worker: one rank of a worker group.

#include <iostream>

#include "common/flags.h"
#include "worker/server/worker_process.h"

namespace skv::server {
namespace {

constexpr IntRange kAnyPort{0, 65535};
constexpr IntRange kSeconds{1, 86400};

void AddFlags(WorkerOptions* options, Flags* flags) {
  engine::RankOptions* const rank = &options->rank;
  flags->Add("model", &rank->model_path, "GGUF file");
  flags->Require("model");
  flags->Add("served-model-name", &options->served_model_name,
             "Name in the API; empty: the file's name");
  flags->AddChoice("backend", &rank->backend, {"cpu", "ref"}, "Arithmetic; ref is exact and slow");
  flags->Add("threads", &rank->num_threads, {0, 1024}, "Threads of this rank; 0: all cores");
  flags->Add("tensor-parallel-size", &options->tensor_parallel_size, {1, 64}, "Ranks in the group");
  flags->Add("rank", &options->rank_idx, {0, 63}, "This process's rank; 0 leads");
  flags->Add("group-path", &options->group_path,
             "File in memory where the ranks meet; needed when there are several");
  flags->Add("join-timeout-secs", &options->join_timeout_secs, kSeconds,
             "Wait for the other ranks");
  flags->Add("host", &options->host, "Address to listen on");
  flags->Add("port", &options->port, kAnyPort, "gRPC port of rank 0; 0: any");
  flags->Add("admin-port", &options->admin_port, kAnyPort,
             "HTTP port of metrics and health; 0: any");
  flags->AddChoice("metrics-compat", &options->metrics_compat, {"vllm", "none"},
                   "Also export metrics under another engine's names (rank 0)");
  flags->Add("max-model-len", &rank->max_model_len, {0, 1 << 24},
             "Longest prompt + max_tokens; 0: the model's context");
  flags->Add("kv-cache-memory-bytes", &rank->kv_cache_memory_bytes, {0, int64_t{1} << 46},
             "KV memory of the group, all ranks together; 0: 2 GiB or one longest sequence");
  AddPolicyFlags(&options->kv_policies, flags);
  flags->AddChoice("kv-placement", &rank->kv_placement, {"in-place", "copied"},
                   "Where generated tokens read what they attend: the cache, or working sets that "
                   "it is copied into, as on a device");
  flags->Add("working-set-factor", &rank->working_set_factor, RealRange{1, 1000},
             "copied: slots of a sequence's working set, as a multiple of its budget");
  flags->Add("working-set-memory-bytes", &rank->working_set_memory_bytes, {0, int64_t{1} << 46},
             "copied: memory of the group's working sets; 0: as much as the KV memory");
  flags->Add("enable-prefix-caching", &rank->enable_prefix_caching,
             "Prompts reuse what earlier ones of the same beginning computed");
  flags->Add("prefix-cache-memory-bytes", &rank->prefix_cache_memory_bytes, {0, int64_t{1} << 46},
             "Memory of the group for cached prefixes, all ranks together, where no store of the "
             "host keeps them; 0: as much as the KV memory");
  flags->Add("prefix-cache-verify-every", &rank->prefix_cache_verify_every, {0, 1 << 30},
             "Of so many prompts that find others' work one computes the last 512 tokens of it "
             "again and compares, for metrics and the log; 0: none");
  flags->Add("kvstore-socket", &rank->kvstore_socket,
             "Where the host's skv-kvstore listens, to keep cached prefixes there; empty: they are "
             "kept in this process");
  flags->Add("kvstore-watch-address", &options->kvstore_watch_address,
             "host:port where routers reach the gRPC of that skv-kvstore, to hear what it has and "
             "what it evicts; empty: they go by what they send");
  flags->Add("max-num-seqs", &options->max_num_seqs, {1, 4096}, "Sequences that run at once");
  flags->Add("max-num-batched-tokens", &rank->max_num_batched_tokens, {1, 65536},
             "Tokens of one step");
  flags->Add("max-queue", &options->max_queue, {1, 1 << 20}, "Requests that wait");
  flags->Add("drain-timeout-secs", &options->drain_timeout_secs, {0, 86400},
             "Time for running requests after SIGTERM");
  flags->Add("max-step-age-secs", &options->max_step_age_secs, kSeconds,
             "An older heartbeat is a stall: not live");
  flags->SetExamples(
      "  skv-worker --model models/SmolLM2-135M-Instruct.Q4_1.gguf --port 8100\n"
      "  skv-worker --model M.gguf --tensor-parallel-size 2 --rank 1 --group-path /dev/shm/skv-0");
}

int Main(int argc, char** argv) {
  WorkerOptions options;
  Flags flags("skv-worker", "One rank of a worker group: loads its shard of a model and serves it");
  AddFlags(&options, &flags);
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status = RunWorker(options);
  if (status.ok()) return 0;
  std::cerr << "skv-worker: " << status.ToString() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? Flags::kUsageExitCode : 1;
}

}  // namespace
}  // namespace skv::server

int main(int argc, char** argv) { return skv::server::Main(argc, argv); }
