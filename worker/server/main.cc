// skv-worker: one rank of a worker group.

#include <CLI/CLI.hpp>
#include <iostream>

#include "worker/server/worker_process.h"

int main(int argc, char** argv) {
  skv::server::WorkerOptions options;
  CLI::App app("One rank of a worker group", "skv-worker");
  app.set_version_flag("--version", "skv 0.1.0");
  app.set_config("--config", "", "Flags from a file, one name = value a line");
  const auto add = [&app](const char* flag, auto& value, const char* help) {
    std::string environment = "SKV_";
    for (const char* c = flag + 2; *c != 0; ++c) {
      environment += *c == '-' ? '_' : static_cast<char>(std::toupper(*c));
    }
    return app.add_option(flag, value, help)->envname(environment)->capture_default_str();
  };
  add("--model", options.rank.model_path, "GGUF file")->required();
  add("--served-model-name", options.served_model_name, "Name in the API; default: the file's");
  add("--backend", options.rank.backend, "cpu, or ref (exact and slow)");
  add("--threads", options.rank.num_threads, "Threads of this rank; 0: all cores")
      ->check(CLI::Range(0, 1024));
  add("--tensor-parallel-size", options.tensor_parallel_size, "Ranks in the group")
      ->check(CLI::Range(1, 64));
  add("--rank", options.rank_idx, "This process's rank; 0 leads")->check(CLI::Range(0, 63));
  add("--group-path", options.group_path, "File in memory where the ranks meet");
  add("--join-timeout-secs", options.join_timeout_secs, "Wait for the other ranks")
      ->check(CLI::Range(1, 86400));
  add("--host", options.host, "Address to listen on");
  add("--port", options.port, "gRPC port of rank 0; 0: any")->check(CLI::Range(0, 65535));
  add("--admin-port", options.admin_port, "HTTP port for metrics and health; 0: any")
      ->check(CLI::Range(0, 65535));
  add("--max-model-len", options.rank.max_model_len,
      "Longest prompt + max_tokens; 0: the model's context")
      ->check(CLI::Range(0, 1 << 24));
  add("--kv-cache-memory-bytes", options.rank.kv_cache_memory_bytes,
      "KV memory of the group, all ranks together; 0: 2 GiB or one longest sequence")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 46));
  add("--max-num-seqs", options.max_num_seqs, "Sequences that run at once")
      ->check(CLI::Range(1, 4096));
  add("--max-num-batched-tokens", options.rank.max_num_batched_tokens, "Tokens of one step")
      ->check(CLI::Range(1, 65536));
  add("--max-queue", options.max_queue, "Requests that wait")->check(CLI::Range(1, 1 << 20));
  add("--drain-timeout-secs", options.drain_timeout_secs, "Time for running requests after SIGTERM")
      ->check(CLI::Range(0, 86400));
  add("--max-step-age-secs", options.max_step_age_secs, "An older heartbeat is a stall: not live")
      ->check(CLI::Range(1, 86400));
  app.footer(
      "Examples:\n"
      "  skv-worker --model models/SmolLM2-135M-Instruct.Q4_1.gguf --port 8100\n"
      "  skv-worker --model M.gguf --tensor-parallel-size 2 --rank 1 --group-path /dev/shm/skv-0\n"
      "Every flag is also read from the environment, e.g. SKV_MAX_NUM_SEQS.");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = skv::server::RunWorker(options);
  if (status.ok()) return 0;
  std::cerr << "skv-worker: " << status.ToString() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? 2 : 1;
}
