// skv-bench-engine: the engine in this process, speaking the bench protocol
// (bench/peers/PROTOCOL.md) on standard input and output.

#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/engine/allocation_count.h"
#include "bench/engine/bench_session.h"
#include "common/flags.h"
#include "common/status.h"
#include "common/version.h"
#include "worker/comm/self_communicator.h"
#include "worker/comm/shm_communicator.h"
#include "worker/engine/in_process_engine.h"

namespace skv::bench {
namespace {

absl::StatusOr<std::unique_ptr<comm::Communicator>> Join(const std::string& path, int rank,
                                                         int world_size) {
  if (world_size == 1) return comm::CreateSelfCommunicator();
  comm::ShmOptions options;
  options.path = path;
  options.rank = rank;
  options.world_size = world_size;
  return comm::JoinShmGroup(options);
}

int RunFollowerProcess(const engine::RankOptions& options,
                       const engine::ModelDescription& description, const std::string& path,
                       int rank_idx, int world_size) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto communicator = Join(path, rank_idx, world_size);
  if (!communicator.ok()) return 1;
  const auto rank = engine::Rank::Open(options, description, communicator->get(), RealClock());
  if (!rank.ok()) return 1;
  return engine::RunFollower((*rank)->executor(), communicator->get()).ok() ? 0 : 1;
}

class EngineTarget : public BenchTarget {
 public:
  // The followers run in forked processes; call before any thread exists.
  static absl::StatusOr<std::unique_ptr<EngineTarget>> Open(const engine::RankOptions& options,
                                                            const policy::PolicyParams& policy,
                                                            int world_size) {
    auto target = std::unique_ptr<EngineTarget>(new EngineTarget);
    target->threads_ = options.num_threads;
    target->policy_ = policy;
    SKV_ASSIGN_OR_RETURN(engine::ModelDescription description,
                         engine::DescribeModel(options.model_path));
    const std::string path = absl::StrCat("/dev/shm/skv-bench-", getpid());
    for (int rank = 1; rank < world_size; ++rank) {
      if (fork() == 0) _exit(RunFollowerProcess(options, description, path, rank, world_size));
    }
    SKV_ASSIGN_OR_RETURN(auto communicator, Join(path, 0, world_size));
    SKV_ASSIGN_OR_RETURN(target->engine_,
                         engine::InProcessEngine::Open({.rank = options}, std::move(description),
                                                       std::move(communicator)));
    return target;
  }

  nlohmann::json Info() const override {
    const auto names = policy::PolicyNames();
    return {
        {"engine", "skv"},
        {"version", std::string(Version())},
        {"system", engine_->rank().backend().numerics_id()},
        {"threads", threads_},
        {"world_size", engine_->communicator().world_size()},
        {"settings",
         {{"kv", "bf16"}, {"transport", "in-process"}, {"policy", policy::Fingerprint(policy_)}}},
        {"kv_policies", std::vector<std::string>(names.begin(), names.end())},
        {"vocab_size", engine_->description().config.vocab_size}};
  }

  absl::Status Start(const std::vector<TokenId>& prompt, int max_tokens,
                     std::shared_ptr<TokenLog> stream) override {
    return Submit(prompt, max_tokens, std::make_shared<Sink>(std::move(stream)));
  }

  absl::StatusOr<nlohmann::json> Memory(const std::vector<TokenId>& prompt,
                                        int max_tokens) override {
    const int64_t before = AllocatedBytes();
    auto memory = std::make_shared<nlohmann::json>();
    auto stream = std::make_shared<TokenLog>();
    SKV_RETURN_IF_ERROR(
        Submit(prompt, max_tokens, std::make_shared<Sink>(stream, [=, this](int count) {
                 if (count == max_tokens) *memory = HeldMemory(before);
               })));
    SKV_RETURN_IF_ERROR(stream->WaitForFinish());
    return *memory;
  }

 private:
  class Sink : public engine::TokenSink {
   public:
    // `on_token` hears how many tokens there are, in the engine's thread.
    explicit Sink(std::shared_ptr<TokenLog> stream, std::function<void(int)> on_token = nullptr)
        : stream_(std::move(stream)), on_token_(std::move(on_token)) {}
    bool OnToken(const engine::TokenEvent& event) override {
      if (on_token_ != nullptr) on_token_(++num_tokens_);
      return stream_->Add(event.token.token, event.token.margin);
    }
    void OnFinish(const engine::FinishEvent& event) override {
      stream_->Finish(event.status, event.kv_use);
    }

   private:
    const std::shared_ptr<TokenLog> stream_;
    const std::function<void(int)> on_token_;
    int num_tokens_ = 0;
  };

  int64_t AllocatedBytes() const { return allocation_count_ == nullptr ? 0 : allocation_count_(); }

  nlohmann::json HeldMemory(int64_t allocated_before) const {
    const engine::EngineStats stats = engine_->engine().stats();
    const kv::KvPool& pool = engine_->rank().pool();
    return {{"index_bytes", stats.index_bytes},
            {"sketch_bytes", stats.sketch_bytes},
            {"working_set_bytes", stats.working_set_bytes},
            {"in_place_bytes", stats.step_in_place_bytes},
            {"hit_rows", stats.working_set_use.hit_rows},
            {"fetched_rows", stats.working_set_use.fetched_rows},
            {"evicted_rows", stats.working_set_use.evicted_rows},
            {"kv_used_bytes", pool.used_bytes()},
            {"kv_blocks", pool.num_blocks()},
            {"kv_token_bytes", pool.layout().TokenBytes()},
            {"counts_allocations", allocation_count_ != nullptr},
            {"allocated_bytes", AllocatedBytes() - allocated_before}};
  }

  absl::Status Submit(const std::vector<TokenId>& prompt, int max_tokens,
                      std::shared_ptr<Sink> sink) {
    engine::GenerationRequest request;
    request.prompt_ids = prompt;
    request.params.temperature = 0;
    request.params.ignore_eos = true;
    request.seeds = {0};
    request.max_tokens = max_tokens;
    request.policy = policy_;
    return engine_->engine().Submit(std::move(request), std::move(sink)).status();
  }

  EngineTarget() = default;
  int threads_ = 0;
  policy::PolicyParams policy_;
  AllocationCount* const allocation_count_ = FindAllocationCount();
  std::unique_ptr<engine::InProcessEngine> engine_;
};

int Main(int argc, char** argv) {
  engine::RankOptions options;
  options.num_threads = 2;
  int world_size = 1;
  policy::PolicyParams policy;
  Flags flags("skv-bench-engine", "The engine under the bench protocol (bench/peers/PROTOCOL.md)");
  flags.Add("model", &options.model_path, "GGUF file");
  flags.Require("model");
  flags.Add("threads", &options.num_threads, IntRange{0, 1024}, "Threads; 0: all cores");
  flags.Add("tensor-parallel-size", &world_size, IntRange{1, 64},
            "Ranks, each a process with --threads threads");
  flags.AddChoice("backend", &options.backend, {"cpu", "ref"}, "Arithmetic; ref is exact and slow");
  flags.Add("max-num-batched-tokens", &options.max_num_batched_tokens, IntRange{64, 65536},
            "Tokens of a step");
  flags.Add("max-model-len", &options.max_model_len, IntRange{0, 1 << 24},
            "Longest sequence; 0: the model's context");
  flags.Add("allow-untrained-length", &options.allow_untrained_length,
            "Sequences longer than the model's context: for timing only");
  flags.Add("kv-cache-memory-bytes", &options.kv_cache_memory_bytes, {0, int64_t{1} << 46},
            "KV memory of all ranks together; 0: 2 GiB or one longest sequence");
  flags.AddChoice("kv-placement", &options.kv_placement, {"in-place", "copied"},
                  "See skv-worker --help");
  flags.Add("working-set-factor", &options.working_set_factor, RealRange{1, 1000},
            "See skv-worker --help");
  flags.Add("kv-policy", &policy.name, "KV policy of every request");
  flags.Add("max-capacity-prompts", &policy.budget_tokens,
            IntRange{policy::kMinBudgetTokens, policy::kMaxBudgetTokens},
            "Most tokens that a generated position attends");
  flags.Add("semantic-factor", &policy.semantic_factor, RealRange{0, policy::kMaxSemanticFactor},
            "See skv-worker --help");
  flags.SetExamples("  skv-bench-engine --model M.gguf --threads 2");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const auto target = EngineTarget::Open(options, policy, world_size);
  if (!target.ok()) {
    std::cerr << "skv-bench-engine: " << target.status().ToString() << std::endl;
    return 1;
  }
  ServeBenchProtocol(target->get(), std::cin, std::cout);
  return 0;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
