#pragma once
// Draws a token from logits. Order of operations (vLLM's): log-probabilities are taken from the raw
// logits; then logit_bias, penalties (repetition, frequency, presence), and at temperature 0 the
// largest logit; else temperature, min_p, top_k, top_p, and one draw. What each filter drops does
// not count in the next. Among equal logits the smaller id is the larger.
//
// The draw is a function of (logits, params, tokens so far, position) alone: the generator is
// Philox 4x32-10 keyed by the seed, its counter the position. Sums run in a fixed order in fixed
// lanes, so the token does not depend on machine, thread or batch.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/types.h"
#include "worker/engine/logit_scan.h"
#include "worker/engine/sampling_params.h"

namespace skv::engine {

// The distinct tokens of a prompt, ascending. Immutable: the samples of a request share one.
using PromptTokens = std::vector<TokenId>;
std::shared_ptr<const PromptTokens> MakePromptTokens(absl::Span<const TokenId> prompt_ids);

// What one sequence brings to its draws. Counts nothing unless its parameters have penalties.
class SamplingState {
 public:
  // `prompt` may be null while repetition_penalty is 1: no other penalty looks at the prompt.
  // REQUIRES: params.Validate(vocab_size).ok().
  SamplingState(SamplingParams params, std::shared_ptr<const PromptTokens> prompt);

  // Each generated token in turn: drawn, resumed, whatever its origin; once each.
  void AddOutput(TokenId token);

  const SamplingParams& params() const { return params_; }
  const PromptTokens& prompt_tokens() const { return *prompt_; }
  // How often the output has each of its tokens.
  const absl::flat_hash_map<TokenId, int>& output_counts() const { return output_counts_; }

 private:
  const SamplingParams params_;
  const std::shared_ptr<const PromptTokens> prompt_;  // never null
  absl::flat_hash_map<TokenId, int> output_counts_;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0.0f;  // natural logarithm of the softmax of the raw logits
};

struct SampledToken {
  TokenId token = 0;
  // Largest less second largest logit after bias and penalties, before temperature; infinite when
  // only one is finite.
  float margin = 0.0f;
  std::optional<float> logprob;   // with params.logprobs
  std::vector<TokenLogprob> top;  // params.top_logprobs of them, most likely first
};

// Owns scratch memory of the vocabulary's size. Not thread-safe: one for each thread that draws.
class Sampler {
 public:
  explicit Sampler(int vocab_size);

  // `logits` holds [vocab_size]; `position` is that of the token to be drawn. Does not touch
  // `state`. InvalidArgument: another length. Internal: a logit is NaN or +infinity, or all are
  // -infinity (a bug of the forward pass); -infinity otherwise means never.
  absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits, const SamplingState& state,
                                      int64_t position);

 private:
  struct Candidate {
    TokenId token;
    float logit;
    float weight;  // exp((logit - largest) / temperature)
    bool RanksBefore(const Candidate& other) const {
      return logit != other.logit ? logit > other.logit : token < other.token;
    }
  };

  absl::Status ApplyBiasAndPenalties(absl::Span<const float> logits, const SamplingState& state);
  TokenId DrawFromAll(absl::Span<const float> logits, const LogitSummary& summary,
                      const SamplingParams& params, int64_t position);
  TokenId DrawFromFiltered(absl::Span<const float> logits, const LogitSummary& summary,
                           const SamplingParams& params, int64_t position);
  double CandidateMass() const;
  float LogitOfRank(int rank);
  void Collect(absl::Span<const float> logits, float min_logit);
  void KeepUpTo(const Candidate& last);
  void KeepTopK(int top_k);
  void KeepNucleus(double mass);
  void AddLogprobs(absl::Span<const float> logits, float largest, int num_top,
                   SampledToken* result);

  const int vocab_size_;
  std::vector<float> adjusted_;
  std::vector<float> block_maxima_;
  std::vector<float> ranked_maxima_;
  std::vector<double> block_sums_;
  std::vector<Candidate> candidates_;  // in order of token
  std::vector<Candidate> ranked_;
};

}  // namespace skv::engine
