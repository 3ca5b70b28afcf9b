#include "eval/fidelity/model_runner.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/rank.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"

namespace skv::eval {
namespace {

// Rows whose logits are held at once: a vocabulary is wide.
constexpr int kMaxLogitRows = 128;

}  // namespace

absl::StatusOr<std::unique_ptr<ModelRunner>> ModelRunner::Open(const Options& options) {
  auto runner = std::unique_ptr<ModelRunner>(new ModelRunner);
  SKV_ASSIGN_OR_RETURN(auto description, engine::DescribeModel(options.model_path));
  runner->config_ = description.config;
  runner->chunk_ = options.chunk;
  runner->max_positions_ =
      options.max_positions > 0 ? options.max_positions : description.config.context_length;
  runner->segmenter_ = description.segmenter;
  SKV_ASSIGN_OR_RETURN(runner->tokenizer_,
                       text::Tokenizer::Create(std::move(description.tokenizer)));
  SKV_ASSIGN_OR_RETURN(runner->backend_, backend::CreateBackend(options.backend, options.threads));
  runner->numerics_id_ =
      absl::StrCat(description.fingerprint, "/", runner->backend_->numerics_id());
  runner->communicator_ = comm::CreateSelfCommunicator();
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(options.model_path));
  SKV_ASSIGN_OR_RETURN(const auto tensors, loader::FindLlamaTensors(*file, runner->config_));
  SKV_ASSIGN_OR_RETURN(const auto plan, loader::MakeShardPlan(runner->config_, tensors, 1, 0));
  SKV_ASSIGN_OR_RETURN(
      runner->model_,
      model::LlamaModel::Load(runner->config_, tensors, plan,
                              {.max_rows = options.chunk, .max_positions = runner->max_positions_},
                              runner->backend_.get(), runner->communicator_.get()));
  const int pool_tokens =
      options.pool_tokens > 0 ? options.pool_tokens : 2 * runner->max_positions_;
  SKV_ASSIGN_OR_RETURN(runner->pool_, kv::KvPool::Create(runner->model_->kv_layout(), pool_tokens));
  return runner;
}

absl::StatusOr<std::unique_ptr<Sequence>> ModelRunner::Prefill(std::span<const TokenId> prompt,
                                                               const MakePolicy& make_policy,
                                                               int first_logits,
                                                               const OnLogits& on_logits) {
  const int num_prompt = static_cast<int>(prompt.size());
  auto sequence =
      std::make_unique<Sequence>(std::make_unique<kv::SequenceCache>(pool_.get(), num_prompt),
                                 engine::SentenceTracker(segmenter_));
  SKV_ASSIGN_OR_RETURN(sequence->policy,
                       make_policy(shape(num_prompt), &sequence->tracker.sentences()));
  SKV_RETURN_IF_ERROR(
      Compute(sequence.get(), prompt, /*generated=*/false, first_logits, on_logits));
  return sequence;
}

std::unique_ptr<Sequence> ModelRunner::Fork(const Sequence& sequence) const {
  return std::make_unique<Sequence>(sequence.cache->ForkPrompt(), sequence.tracker);
}

absl::Status ModelRunner::Replay(Sequence* sequence, std::span<const TokenId> tokens,
                                 const OnLogits& on_logits) {
  return Compute(sequence, tokens, /*generated=*/true, /*first_logits=*/0, on_logits);
}

bool ModelRunner::EqualRows(const Sequence& a, const Sequence& b, int num_tokens) const {
  const kv::KvLayout& layout = pool_->layout();
  const auto equal = [&](const std::byte* x, const std::byte* y) {
    return std::memcmp(x, y, layout.RowBytes()) == 0;
  };
  for (int layer = 0; layer < layout.num_layers; ++layer) {
    for (int head = 0; head < layout.num_kv_heads; ++head) {
      for (int t = 0; t < num_tokens; ++t) {
        const kv::RowPointers x = a.cache->Row(layer, head, t), y = b.cache->Row(layer, head, t);
        if (!equal(x.k, y.k) || !equal(x.v, y.v)) return false;
      }
    }
  }
  return true;
}

absl::Status ModelRunner::Compute(Sequence* sequence, std::span<const TokenId> tokens,
                                  bool generated, int first_logits, const OnLogits& on_logits) {
  while (!tokens.empty()) {
    const int begin = sequence->cache->num_computed();
    int count = std::min<int>(chunk_, tokens.size());
    // A chunk with logits is short.
    if (begin + count > first_logits) {
      count = begin < first_logits ? first_logits - begin : std::min(count, kMaxLogitRows);
    }
    SKV_RETURN_IF_ERROR(
        ComputeChunk(sequence, tokens.first(count), generated, first_logits, on_logits));
    tokens = tokens.subspan(count);
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::ComputeChunk(Sequence* sequence, std::span<const TokenId> tokens,
                                       bool generated, int first_logits,
                                       const OnLogits& on_logits) {
  const int begin = sequence->cache->num_computed(), count = static_cast<int>(tokens.size());
  if (begin + count > max_positions_) {
    return absl::InvalidArgumentError(absl::StrCat("a sequence of ", begin + count,
                                                   " tokens, expected at most ", max_positions_));
  }
  std::vector<int> wanted(begin >= first_logits ? count : 0);
  std::iota(wanted.begin(), wanted.end(), 0);
  sequence->tracker.Feed({tokens.data(), tokens.size()});
  SKV_RETURN_IF_ERROR(sequence->cache->Reserve(count));
  const model::SequenceRows rows{
      sequence->cache.get(), sequence->policy.get(), &sequence->use, begin, count, generated};
  SKV_RETURN_IF_ERROR(
      model_->Forward({.tokens = tokens, .sequences = {&rows, 1}, .logit_rows = wanted}, &logits_));
  sequence->cache->Commit();
  for (const int row : wanted) {
    on_logits(begin + row, {logits_.data() + size_t(row) * vocab_size(), size_t(vocab_size())});
  }
  return absl::OkStatus();
}

absl::Status ModelRunner::Step(std::span<Sequence* const> sequences,
                               std::span<const TokenId> tokens, std::vector<float>* logits) {
  std::vector<model::SequenceRows> rows;
  std::vector<int> wanted(sequences.size());
  std::iota(wanted.begin(), wanted.end(), 0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence& sequence = *sequences[i];
    sequence.tracker.Feed({&tokens[i], 1});
    SKV_RETURN_IF_ERROR(sequence.cache->Reserve(1));
    rows.push_back({sequence.cache.get(), sequence.policy.get(), &sequence.use,
                    sequence.cache->num_computed(), 1, /*generated=*/true});
  }
  SKV_RETURN_IF_ERROR(
      model_->Forward({.tokens = tokens, .sequences = rows, .logit_rows = wanted}, logits));
  for (Sequence* sequence : sequences) sequence->cache->Commit();
  return absl::OkStatus();
}

}  // namespace skv::eval
