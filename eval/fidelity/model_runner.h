#pragma once
// A model that is driven sequence by sequence, with whatever KV policies: prefill once, fork, step
// the forks together. One process, one rank. Not thread-safe.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/types.h"
#include "kernels/attention.h"
#include "text/tokenizer.h"
#include "worker/comm/communicator.h"
#include "worker/engine/sentence_tracker.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/sequence_cache.h"
#include "worker/model/llama_model.h"
#include "worker/policy/kv_policy.h"

namespace skv::eval {

// Its policy reads its sentences, so it stays where it was made.
struct Sequence {
  Sequence(std::unique_ptr<kv::SequenceCache> cache, engine::SentenceTracker tracker)
      : cache(std::move(cache)), tracker(std::move(tracker)) {}
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  std::unique_ptr<kv::SequenceCache> cache;
  engine::SentenceTracker tracker;
  std::unique_ptr<policy::KvPolicy> policy;
  policy::KvUse use;
};

class ModelRunner {
 public:
  struct Options {
    std::string model_path;
    std::string backend = "cpu";
    int threads = 2;
    int chunk = 512;        // most rows of a step
    int max_positions = 0;  // longest sequence; 0: what the model was trained for
    int pool_tokens = 0;    // room for prompts and what all forks generate; 0: 2 * max_positions
  };
  static absl::StatusOr<std::unique_ptr<ModelRunner>> Open(const Options& options);

  // Called for the logits [vocab_size] after the token at `position`.
  using OnLogits = std::function<void(int position, std::span<const float> logits)>;
  // The policy of a sequence whose sentences will be `sentences`.
  using MakePolicy = std::function<absl::StatusOr<std::unique_ptr<policy::KvPolicy>>(
      const policy::SequenceShape& shape, const std::vector<policy::Sentence>* sentences)>;

  // Computes `prompt`. Logits are given for positions from `first_logits` on.
  absl::StatusOr<std::unique_ptr<Sequence>> Prefill(std::span<const TokenId> prompt,
                                                    const MakePolicy& make_policy, int first_logits,
                                                    const OnLogits& on_logits);
  // A second sequence with the same prompt. Its policy is the caller's to set.
  std::unique_ptr<Sequence> Fork(const Sequence& sequence) const;
  // Computes one further token of each sequence, as generated ones, in one batch; sequence i's
  // logits are [i] of `logits` [sequences.size(), vocab_size].
  absl::Status Step(std::span<Sequence* const> sequences, std::span<const TokenId> tokens,
                    std::vector<float>* logits);
  // Computes `tokens` as generated ones of one sequence and gives the logits of each.
  absl::Status Replay(Sequence* sequence, std::span<const TokenId> tokens,
                      const OnLogits& on_logits);

  // Whether the keys and values of the first `num_tokens` positions are the same bits in both.
  bool EqualRows(const Sequence& a, const Sequence& b, int num_tokens) const;

  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  int vocab_size() const { return config_.vocab_size; }
  int max_positions() const { return max_positions_; }
  policy::SequenceShape shape(int num_prompt_tokens) const {
    return model_->sequence_shape(num_prompt_tokens);
  }
  // A token's keys and values in all layers, as the CPU caches them.
  double token_bytes() const {
    const policy::SequenceShape one = shape(1);
    return 2.0 * sizeof(kernels::Bf16) * one.num_layers * one.num_kv_heads * one.head_dim;
  }
  // Weights and arithmetic: results of equal ids may be compared.
  const std::string& numerics_id() const { return numerics_id_; }

 private:
  ModelRunner() = default;
  // Computes `tokens` in chunks of `chunk` rows.
  absl::Status Compute(Sequence* sequence, std::span<const TokenId> tokens, bool generated,
                       int first_logits, const OnLogits& on_logits);
  absl::Status ComputeChunk(Sequence* sequence, std::span<const TokenId> tokens, bool generated,
                            int first_logits, const OnLogits& on_logits);

  loader::LlamaConfig config_;
  int chunk_ = 0;
  int max_positions_ = 0;
  std::string numerics_id_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::shared_ptr<const text::SentenceSegmenter> segmenter_;
  std::unique_ptr<backend::Backend> backend_;
  std::unique_ptr<comm::Communicator> communicator_;
  std::unique_ptr<model::LlamaModel> model_;
  std::unique_ptr<kv::KvPool> pool_;
  std::vector<float> logits_;
};

}  // namespace skv::eval
