// skv-bench-engine: the engine in this process, speaking the bench protocol
// (bench/peers/PROTOCOL.md) on standard input and output.

#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/engine/bench_session.h"
#include "common/status.h"
#include "common/version.h"
#include "worker/comm/self_communicator.h"
#include "worker/comm/shm_communicator.h"
#include "worker/engine/rank.h"

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
                                                            int world_size) {
    auto target = std::unique_ptr<EngineTarget>(new EngineTarget);
    target->threads_ = options.num_threads;
    SKV_ASSIGN_OR_RETURN(target->description_, engine::DescribeModel(options.model_path));
    const std::string path = absl::StrCat("/dev/shm/skv-bench-", getpid());
    for (int rank = 1; rank < world_size; ++rank) {
      if (fork() == 0)
        _exit(RunFollowerProcess(options, target->description_, path, rank, world_size));
    }
    SKV_ASSIGN_OR_RETURN(target->communicator_, Join(path, 0, world_size));
    SKV_ASSIGN_OR_RETURN(target->rank_,
                         engine::Rank::Open(options, target->description_,
                                            target->communicator_.get(), RealClock()));
    target->engine_ = std::make_unique<engine::Engine>(
        target->rank_->MakeEngineOptions(target->description_, /*max_num_seqs=*/64,
                                         options.max_num_batched_tokens, /*max_queue=*/1024),
        target->rank_->executor(), target->communicator_.get(), RealClock());
    target->thread_ = std::thread([engine = target->engine_.get()] { (void)engine->Run(); });
    return target;
  }
  ~EngineTarget() override {
    if (engine_ != nullptr) engine_->Shutdown();
    if (thread_.joinable()) thread_.join();
  }

  nlohmann::json Info() const override {
    return {{"engine", "skv"},
            {"version", std::string(Version())},
            {"system", rank_->backend().numerics_id()},
            {"threads", threads_},
            {"world_size", communicator_->world_size()},
            {"settings", {{"kv", "bf16"}, {"transport", "in-process"}}},
            {"vocab_size", description_.config.vocab_size}};
  }

  absl::Status Start(const std::vector<TokenId>& prompt, int max_tokens,
                     std::shared_ptr<TokenLog> stream) override {
    engine::GenerationRequest request;
    request.prompt_ids = prompt;
    request.params.temperature = 0;
    request.params.ignore_eos = true;
    request.seeds = {0};
    request.max_tokens = max_tokens;
    return engine_->Submit(std::move(request), std::make_shared<Sink>(std::move(stream))).status();
  }

 private:
  class Sink : public engine::TokenSink {
   public:
    explicit Sink(std::shared_ptr<TokenLog> stream) : stream_(std::move(stream)) {}
    bool OnToken(const engine::TokenEvent& event) override {
      stream_->Add(event.token.token, event.token.margin);
      return true;
    }
    void OnFinish(const engine::FinishEvent& event) override { stream_->Finish(event.status); }

   private:
    const std::shared_ptr<TokenLog> stream_;
  };

  EngineTarget() = default;
  int threads_ = 0;
  engine::ModelDescription description_;
  std::unique_ptr<comm::Communicator> communicator_;
  std::unique_ptr<engine::Rank> rank_;
  std::unique_ptr<engine::Engine> engine_;
  std::thread thread_;
};

int Main(int argc, char** argv) {
  engine::RankOptions options;
  options.num_threads = 2;
  int world_size = 1;
  CLI::App app("The engine under the bench protocol", "skv-bench-engine");
  app.add_option("--model", options.model_path, "GGUF file")->required();
  app.add_option("--threads", options.num_threads, "Threads")->capture_default_str();
  app.add_option("--tensor-parallel-size", world_size,
                 "Ranks, each a process with --threads threads")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--backend", options.backend, "cpu or ref")->capture_default_str();
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens, "Tokens of a step")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto target = EngineTarget::Open(options, world_size);
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
