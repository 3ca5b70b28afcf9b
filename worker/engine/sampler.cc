#include "worker/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/philox.h"
#include "common/status.h"
#include "worker/engine/logit_scan.h"

namespace skv::engine {
namespace {

constexpr float kGreedyBelow = 1e-5f;

bool HasFilters(const SamplingParams& params) {
  return params.top_k > 0 || params.top_p < 1.0f || params.min_p > 0.0f;
}

float Weight(float logit, float largest, float temperature) {
  return ExpOfNegative((logit - largest) / temperature);
}

absl::Status InvalidLogits(absl::Span<const float> logits, int64_t position) {
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] <= std::numeric_limits<float>::max()) continue;
    return absl::InternalError(absl::StrCat("logits for position ", position, ": token ", i,
                                            " has ", logits[i], ", expected a finite value"));
  }
  return absl::InternalError(
      absl::StrCat("logits for position ", position, ": none of ", logits.size(), " is finite"));
}

// Of a token that the prompt has, or the output `num_in_output` times.
float Penalized(float logit, int num_in_output, const SamplingParams& params) {
  logit = logit > 0.0f ? logit / params.repetition_penalty : logit * params.repetition_penalty;
  logit -= params.frequency_penalty * static_cast<float>(num_in_output);
  if (num_in_output > 0) logit -= params.presence_penalty;
  // A tiny repetition_penalty must not make infinities, whose differences are NaN.
  return std::min(logit, std::numeric_limits<float>::max());
}

}  // namespace

std::shared_ptr<const PromptTokens> MakePromptTokens(absl::Span<const TokenId> prompt_ids) {
  auto tokens = std::make_shared<PromptTokens>(prompt_ids.begin(), prompt_ids.end());
  std::sort(tokens->begin(), tokens->end());
  tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
  tokens->shrink_to_fit();
  return tokens;
}

SamplingState::SamplingState(SamplingParams params, std::shared_ptr<const PromptTokens> prompt)
    : params_(std::move(params)),
      prompt_(prompt != nullptr ? std::move(prompt) : MakePromptTokens({})) {}

void SamplingState::AddOutput(TokenId token) {
  if (params_.has_penalties()) ++output_counts_[token];
}

Sampler::Sampler(int vocab_size) : vocab_size_(vocab_size) {}

absl::StatusOr<SampledToken> Sampler::Sample(absl::Span<const float> logits,
                                             const SamplingState& state, int64_t position) {
  if (logits.size() != static_cast<size_t>(vocab_size_)) {
    return absl::InvalidArgumentError(absl::StrCat("got ", logits.size(), " logits for position ",
                                                   position, ", expected ", vocab_size_));
  }
  const LogitSummary raw = Summarize(logits);
  if (!raw.valid) return InvalidLogits(logits, position);

  const SamplingParams& params = state.params();
  absl::Span<const float> adjusted = logits;
  LogitSummary summary = raw;
  if (!params.logit_bias.empty() || params.has_penalties()) {
    SKV_RETURN_IF_ERROR(ApplyBiasAndPenalties(logits, state));
    adjusted = adjusted_;
    summary = Summarize(adjusted);
  }

  SampledToken result{.token = summary.argmax, .margin = summary.largest - summary.second};
  if (params.temperature >= kGreedyBelow) {
    result.token = HasFilters(params) ? DrawFromFiltered(adjusted, summary, params, position)
                                      : DrawFromAll(adjusted, summary, params, position);
  }
  if (params.logprobs) AddLogprobs(logits, raw.largest, params.top_logprobs, &result);
  return result;
}

absl::Status Sampler::ApplyBiasAndPenalties(absl::Span<const float> logits,
                                            const SamplingState& state) {
  adjusted_.assign(logits.begin(), logits.end());
  const auto check = [&](TokenId token) {
    if (token >= 0 && token < vocab_size_) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("token ", token,
                                            " is in prompt, output or logit_bias, ",
                                            "the vocabulary has ", vocab_size_));
  };
  for (const auto& [token, bias] : state.params().logit_bias) {
    SKV_RETURN_IF_ERROR(check(token));
    adjusted_[token] += bias;
  }
  const SamplingParams& params = state.params();
  for (const auto& [token, count] : state.output_counts()) {
    SKV_RETURN_IF_ERROR(check(token));
    adjusted_[token] = Penalized(adjusted_[token], count, params);
  }
  if (params.repetition_penalty == 1.0f) return absl::OkStatus();
  for (const TokenId token : state.prompt_tokens()) {
    SKV_RETURN_IF_ERROR(check(token));
    if (state.output_counts().contains(token)) continue;
    adjusted_[token] = Penalized(adjusted_[token], 0, params);
  }
  return absl::OkStatus();
}

TokenId Sampler::DrawFromAll(absl::Span<const float> logits, const LogitSummary& summary,
                             const SamplingParams& params, int64_t position) {
  const double total = SumExp(logits, summary.largest, params.temperature, &block_sums_);
  double left = UniformAt(params.seed, position) * total;
  size_t block = 0;
  while (block + 1 < block_sums_.size() && left >= block_sums_[block]) left -= block_sums_[block++];
  const auto in_block = logits.subspan(block * kSumBlock, kSumBlock);
  // The block's sum is rounded otherwise than this walk, which may end an ulp short.
  TokenId token = summary.argmax;
  for (size_t i = 0; i < in_block.size() && left >= 0.0; ++i) {
    const float weight = Weight(in_block[i], summary.largest, params.temperature);
    if (weight == 0.0f) continue;
    token = static_cast<TokenId>(block * kSumBlock + i);
    left -= weight;
  }
  return token;
}

TokenId Sampler::DrawFromFiltered(absl::Span<const float> logits, const LogitSummary& summary,
                                  const SamplingParams& params, int64_t position) {
  const bool has_top_k = params.top_k > 0 && params.top_k < vocab_size_;
  float min_weight = std::max(params.min_p, std::numeric_limits<float>::min());
  double mass = 0.0;  // what top_p is a part of
  if (!has_top_k && params.min_p == 0.0f) {
    mass = SumExp(logits, summary.largest, params.temperature, &block_sums_);
    // All tokens of less weight, taken together, are less than what top_p leaves out.
    const double left_out = (1.0 - double{params.top_p}) * mass;
    min_weight = std::max(min_weight, static_cast<float>(0.999 * left_out / vocab_size_));
  }
  // Sieves by logits first: a little too many, the weights decide.
  float min_logit = summary.largest + params.temperature * (std::log(min_weight) - 1e-3f);
  BlockMaxima(logits, &block_maxima_);
  if (has_top_k) min_logit = std::max(min_logit, LogitOfRank(params.top_k));
  Collect(logits, min_logit);
  for (Candidate& c : candidates_) c.weight = Weight(c.logit, summary.largest, params.temperature);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < min_weight; });
  if (has_top_k) KeepTopK(params.top_k);
  if (mass == 0.0) mass = CandidateMass();
  if (params.top_p < 1.0f) KeepNucleus(params.top_p * mass);

  double left = UniformAt(params.seed, position) * CandidateMass();
  for (const Candidate& c : candidates_) {
    left -= c.weight;
    if (left < 0.0) return c.token;
  }
  return candidates_.back().token;
}

double Sampler::CandidateMass() const {
  double mass = 0.0;
  for (const Candidate& c : candidates_) mass += c.weight;
  return mass;
}

// At most the logit of that rank (1 is the largest), and close to it: as many blocks as `rank` have
// a maximum of at least this.
float Sampler::LogitOfRank(int rank) {
  if (static_cast<size_t>(rank) > block_maxima_.size()) {
    return -std::numeric_limits<float>::max();
  }
  ranked_maxima_ = block_maxima_;
  const auto it = ranked_maxima_.begin() + (rank - 1);
  std::nth_element(ranked_maxima_.begin(), it, ranked_maxima_.end(), std::greater<>());
  return *it;
}

// candidates_ = tokens with at least that logit. REQUIRES: block_maxima_ are those of `logits`.
void Sampler::Collect(absl::Span<const float> logits, float min_logit) {
  candidates_.clear();
  for (size_t block = 0; block < block_maxima_.size(); ++block) {
    if (block_maxima_[block] < min_logit) continue;
    const size_t end = std::min((block + 1) * kMaxBlock, logits.size());
    for (size_t i = block * kMaxBlock; i < end; ++i) {
      if (logits[i] >= min_logit) candidates_.push_back({static_cast<TokenId>(i), logits[i], 0.0f});
    }
  }
}

void Sampler::KeepUpTo(const Candidate& last) {
  std::erase_if(candidates_, [&](const Candidate& c) { return last.RanksBefore(c); });
}

void Sampler::KeepTopK(int top_k) {
  if (candidates_.size() <= static_cast<size_t>(top_k)) return;
  ranked_ = candidates_;
  const auto last = ranked_.begin() + (top_k - 1);
  std::nth_element(ranked_.begin(), last, ranked_.end(), std::mem_fn(&Candidate::RanksBefore));
  KeepUpTo(*last);
}

// Keeps the first in rank whose weights reach `mass`; bisects instead of sorting.
void Sampler::KeepNucleus(double mass) {
  ranked_ = candidates_;
  auto begin = ranked_.begin();
  auto end = ranked_.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, std::mem_fn(&Candidate::RanksBefore));
    double sum = 0.0;
    for (auto it = begin; it != middle; ++it) sum += it->weight;
    if (sum >= mass) {
      end = middle;
    } else {
      mass -= sum;
      begin = middle;
    }
  }
  KeepUpTo(*begin);
}

void Sampler::AddLogprobs(absl::Span<const float> logits, float largest, int num_top,
                          SampledToken* result) {
  const double log_sum = largest + std::log(SumExp(logits, largest, 1.0f, &block_sums_));
  const auto logprob = [&](TokenId token) { return static_cast<float>(logits[token] - log_sum); };
  result->logprob = logprob(result->token);
  if (num_top == 0) return;
  BlockMaxima(logits, &block_maxima_);
  Collect(logits, LogitOfRank(num_top));
  KeepTopK(num_top);
  std::sort(candidates_.begin(), candidates_.end(), std::mem_fn(&Candidate::RanksBefore));
  for (const Candidate& c : candidates_) result->top.push_back({c.token, logprob(c.token)});
}

}  // namespace skv::engine
