// skv-bench-engine: the engine in this process, speaking the bench protocol
// (bench/peers/PROTOCOL.md) on standard input and output.

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/engine/bench_session.h"
#include "common/status.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/rank.h"

namespace skv::bench {
namespace {

class EngineTarget : public BenchTarget {
 public:
  static absl::StatusOr<std::unique_ptr<EngineTarget>> Open(const engine::RankOptions& options) {
    auto target = std::unique_ptr<EngineTarget>(new EngineTarget);
    target->threads_ = options.num_threads;
    SKV_ASSIGN_OR_RETURN(target->description_, engine::DescribeModel(options.model_path));
    target->communicator_ = comm::CreateSelfCommunicator();
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
            {"version", "0.1.0"},
            {"system", rank_->backend().numerics_id()},
            {"threads", threads_},
            {"settings", {{"kv", "bf16"}, {"transport", "in-process"}}},
            {"vocab_size", description_.config.vocab_size}};
  }

  absl::Status Start(const std::vector<TokenId>& prompt, int max_tokens,
                     std::shared_ptr<StreamClock> stream) override {
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
    explicit Sink(std::shared_ptr<StreamClock> stream) : stream_(std::move(stream)) {}
    bool OnToken(const engine::TokenEvent&) override {
      stream_->AddTokens(1);
      return true;
    }
    void OnFinish(const engine::FinishEvent& event) override { stream_->Finish(event.status); }

   private:
    const std::shared_ptr<StreamClock> stream_;
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
  CLI::App app("The engine under the bench protocol", "skv-bench-engine");
  app.add_option("--model", options.model_path, "GGUF file")->required();
  app.add_option("--threads", options.num_threads, "Threads")->capture_default_str();
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens, "Tokens of a step")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto target = EngineTarget::Open(options);
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
