// skv-invariance: the same requests under every circumstance that must not matter, compared by the
// bits of their logits at every step; with a KV policy also: a budget that holds everything gives
// the bits of full attention. Prints one JSON object.

#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "text/tokenizer.h"
#include "worker/engine/testing/local_engine.h"

namespace skv::eval {
namespace {

using engine::CollectingSink;
using engine::GenerationRequest;
using engine::LocalEngine;

struct Options {
  std::string model;
  int num_requests = 20;
  int num_tokens = 32;
  int max_prompt = 900;
  policy::PolicyParams policy;
};

struct Outcome {
  std::vector<TokenId> tokens;
  std::map<int, uint64_t> hashes;  // of the logits that each position was drawn from
  policy::KvUse use;
};

struct Tally {
  int64_t compared = 0;     // logit rows
  int64_t differences = 0;  // of them, with other bits
};

// Random words in sentences of 3 to 40 tokens.
std::vector<TokenId> MakePrompt(int length, const std::vector<TokenId>& stop,
                                std::mt19937* random) {
  std::vector<TokenId> prompt;
  while (static_cast<int>(prompt.size()) < length) {
    for (int i = 3 + static_cast<int>((*random)() % 38); i > 0; --i) {
      prompt.push_back(1000 + (*random)() % 40000);
    }
    prompt.insert(prompt.end(), stop.begin(), stop.end());
  }
  prompt.resize(length);
  return prompt;
}

GenerationRequest MakeRequest(int seed, const std::vector<TokenId>& stop, const Options& options) {
  std::mt19937 random(seed);
  GenerationRequest request;
  const int length = 16 + static_cast<int>(random() % (options.max_prompt - 16));
  request.prompt_ids = MakePrompt(length, stop, &random);
  request.policy = options.policy;
  request.params.temperature = seed % 2 == 0 ? 0.0f : 1.0f;
  request.params.ignore_eos = true;
  request.seeds = {static_cast<uint64_t>(seed)};
  request.max_tokens = options.num_tokens;
  return request;
}

absl::StatusOr<std::unique_ptr<LocalEngine>> Open(const Options& options, int chunk, int threads) {
  return LocalEngine::Open({.rank = {.model_path = options.model,
                                     .num_threads = threads,
                                     .max_model_len = options.max_prompt + options.num_tokens,
                                     .max_num_batched_tokens = chunk}});
}

// Runs the requests together, or each alone; with `evict` each is evicted once in the middle.
absl::StatusOr<std::vector<Outcome>> RunAll(LocalEngine* local,
                                            const std::vector<GenerationRequest>& requests,
                                            bool together, bool evict) {
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  std::vector<SequenceId> sequences;
  static_assert(std::is_same_v<SequenceId, uint64_t>);
  for (const GenerationRequest& request : requests) {
    sinks.push_back(std::make_shared<CollectingSink>());
    SKV_ASSIGN_OR_RETURN(const engine::RequestId id, local->engine().Submit(request, sinks.back()));
    // One sample a request: the engine counts sequences as it counts requests.
    sequences.push_back(id);
    if (evict) {
      sinks.back()->WaitForTokens(request.max_tokens / 2);
      local->engine().Preempt(id);
    }
    if (!together && !sinks.back()->WaitForFinish())
      return absl::DeadlineExceededError("a request");
  }
  std::vector<Outcome> outcomes;
  for (size_t i = 0; i < sinks.size(); ++i) {
    if (!sinks[i]->WaitForFinish()) return absl::DeadlineExceededError("a request did not end");
    SKV_RETURN_IF_ERROR(sinks[i]->finish().status);
    outcomes.push_back({sinks[i]->tokens(), local->recorder().logit_hashes(sequences[i]),
                        sinks[i]->finish().kv_use});
  }
  return outcomes;
}

// A position without a counterpart counts as different, unless `got` is a resumed tail.
void Compare(const std::vector<Outcome>& want, const std::vector<Outcome>& got, bool tail_only,
             Tally* tally) {
  for (size_t i = 0; i < want.size(); ++i) {
    if (!tail_only && got[i].hashes.size() != want[i].hashes.size()) ++tally->differences;
    for (const auto& [position, hash] : got[i].hashes) {
      const auto it = want[i].hashes.find(position);
      ++tally->compared;
      tally->differences += it == want[i].hashes.end() || it->second != hash;
    }
  }
}

class Study {
 public:
  explicit Study(Options options) : options_(std::move(options)) {}

  absl::Status Run() {
    SKV_RETURN_IF_ERROR(MakeRequests());
    SKV_RETURN_IF_ERROR(Alone());
    for (const int chunk : {64, 256, 1024}) {
      for (const int threads : {1, 2}) SKV_RETURN_IF_ERROR(Together(chunk, threads));
    }
    SKV_RETURN_IF_ERROR(Resumed());
    SKV_RETURN_IF_ERROR(Evicted());
    return options_.policy.name == "full" ? absl::OkStatus() : BudgetForEverything();
  }

  nlohmann::json Report() const {
    return {{"differences", total_.differences},
            {"compared", total_.compared},
            {"largest_batch", largest_batch_},
            {"mixed_steps", mixed_steps_},
            {"preemptions", preemptions_},
            {"policy", policy::Fingerprint(options_.policy)},
            {"read_share", static_cast<double>(use_.attended) / std::max<int64_t>(1, use_.visible)},
            {"by_circumstance", by_circumstance_}};
  }

 private:
  absl::Status MakeRequests() {
    SKV_ASSIGN_OR_RETURN(const auto description, engine::DescribeModel(options_.model));
    SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(description.tokenizer));
    SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> stop, tokenizer->Encode(". The", {}));
    for (int i = 0; i < options_.num_requests; ++i) {
      requests_.push_back(MakeRequest(10000 + i, stop, options_));
    }
    return absl::OkStatus();
  }

  absl::Status Alone() {
    SKV_ASSIGN_OR_RETURN(const auto local, Open(options_, 512, 2));
    SKV_ASSIGN_OR_RETURN(want_, RunAll(local.get(), requests_, /*together=*/false, false));
    for (const Outcome& outcome : want_) use_ += outcome.use;
    return absl::OkStatus();
  }

  absl::Status Together(int chunk, int threads) {
    SKV_ASSIGN_OR_RETURN(const auto local, Open(options_, chunk, threads));
    SKV_ASSIGN_OR_RETURN(const auto got, RunAll(local.get(), requests_, /*together=*/true, false));
    Record(absl::StrCat("together, chunk ", chunk, ", threads ", threads), got, false, *local);
    return absl::OkStatus();
  }

  // The first half of what was generated comes back as resume_ids; with full attention also as a
  // longer prompt, which for a policy is another request.
  absl::Status Resumed() {
    std::vector<GenerationRequest> resumed = requests_, prompts = requests_;
    for (size_t i = 0; i < requests_.size(); ++i) {
      const std::vector<TokenId>& tokens = want_[i].tokens;
      const auto half = tokens.begin() + tokens.size() / 2;
      resumed[i].resume_ids.assign(tokens.begin(), half);
      prompts[i].prompt_ids.insert(prompts[i].prompt_ids.end(), tokens.begin(), half);
      prompts[i].max_tokens -= static_cast<int>(tokens.size() / 2);
    }
    SKV_ASSIGN_OR_RETURN(auto local, Open(options_, 256, 2));
    SKV_ASSIGN_OR_RETURN(auto got, RunAll(local.get(), resumed, true, false));
    Record("prefix as resume ids", got, true, *local);
    if (options_.policy.name != "full") return absl::OkStatus();
    SKV_ASSIGN_OR_RETURN(local, Open(options_, 256, 2));
    SKV_ASSIGN_OR_RETURN(got, RunAll(local.get(), prompts, true, false));
    Record("prefix as prompt", got, true, *local);
    return absl::OkStatus();
  }

  absl::Status Evicted() {
    SKV_ASSIGN_OR_RETURN(const auto local, Open(options_, 256, 2));
    SKV_ASSIGN_OR_RETURN(const auto got, RunAll(local.get(), requests_, true, /*evict=*/true));
    Record("after a forced preemption", got, false, *local);
    preemptions_ = local->engine().stats().scheduler.num_preemptions;
    return absl::OkStatus();
  }

  absl::Status BudgetForEverything() {
    std::vector<GenerationRequest> generous = requests_, full = requests_;
    for (size_t i = 0; i < requests_.size(); ++i) {
      generous[i].policy.budget_tokens = options_.max_prompt + options_.num_tokens;
      full[i].policy = {};
    }
    SKV_ASSIGN_OR_RETURN(auto local, Open(options_, 256, 2));
    SKV_ASSIGN_OR_RETURN(want_, RunAll(local.get(), full, true, false));
    SKV_ASSIGN_OR_RETURN(local, Open(options_, 256, 2));
    SKV_ASSIGN_OR_RETURN(const auto got, RunAll(local.get(), generous, true, false));
    Record("budget for everything, against full", got, false, *local);
    return absl::OkStatus();
  }

  void Record(const std::string& circumstance, const std::vector<Outcome>& got, bool tail_only,
              const LocalEngine& local) {
    Tally tally;
    tally.differences = local.recorder().differences();
    Compare(want_, got, tail_only, &tally);
    for (const engine::StepRecord& step : local.recorder().steps()) {
      largest_batch_ = std::max(largest_batch_, step.num_decodes);
      mixed_steps_ += step.num_decodes > 0 && step.num_prefills > 0;
    }
    by_circumstance_[circumstance] = {{"compared", tally.compared},
                                      {"differences", tally.differences}};
    total_.compared += tally.compared;
    total_.differences += tally.differences;
    std::cerr << circumstance << ": " << tally.compared << " logit rows, " << tally.differences
              << " differ" << std::endl;
  }

  const Options options_;
  std::vector<GenerationRequest> requests_;
  std::vector<Outcome> want_;
  Tally total_;
  int largest_batch_ = 0;
  int mixed_steps_ = 0;
  int64_t preemptions_ = 0;
  policy::KvUse use_;  // of the requests alone
  nlohmann::json by_circumstance_;
};

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  skv::eval::Options options;
  skv::Flags flags("skv-invariance", "Equal logit bits whatever runs beside a request");
  flags.Add("model", &options.model, "GGUF file");
  flags.Require("model");
  flags.Add("requests", &options.num_requests, skv::IntRange{1, 256}, "Requests");
  flags.Add("tokens", &options.num_tokens, skv::IntRange{2, 1024}, "Tokens of each");
  flags.Add("max-prompt", &options.max_prompt, skv::IntRange{32, 8000}, "Longest prompt");
  flags.Add("kv-policy", &options.policy.name, "KV policy of the requests");
  flags.Add("max-capacity-prompts", &options.policy.budget_tokens,
            skv::IntRange{skv::policy::kMinBudgetTokens, skv::policy::kMaxBudgetTokens},
            "Tokens that a generated position attends");
  flags.Add("semantic-factor", &options.policy.semantic_factor,
            skv::RealRange{0, skv::policy::kMaxSemanticFactor}, "See skv-worker --help");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  skv::eval::Study study(options);
  const absl::Status status = study.Run();
  if (!status.ok()) {
    std::cerr << "skv-invariance: " << status.ToString() << std::endl;
    return 1;
  }
  std::cout << study.Report().dump() << std::endl;
  return 0;
}
