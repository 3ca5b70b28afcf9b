#pragma once
// One rank put together: model file, shard, backend, model, KV pool, executor. What skv-worker, the
// in-process CLI and the tests all start from.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/client/block_client.h"
#include "text/sentence_segmenter.h"
#include "text/tokenizer_spec.h"
#include "worker/backend/backend.h"
#include "worker/comm/communicator.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank_executor.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/slot_pool.h"
#include "worker/loader/llama_config.h"
#include "worker/model/llama_model.h"
#include "worker/policy/kv_means.h"
#include "worker/prefix/prefix_cache.h"

namespace skv::engine {

struct RankOptions {
  std::string model_path;
  std::string backend = "cpu";
  int num_threads = 0;                  // 0: all cores
  int max_model_len = 0;                // 0: the model's context length
  bool allow_untrained_length = false;  // max_model_len may exceed the context: for timing only
  // KV of the whole group, all ranks together; 0: kDefaultKvBytes, or what one longest sequence
  // needs.
  int64_t kv_cache_memory_bytes = 0;
  // Where generated tokens read what they attend: "in-place" in the cache, or "copied" into working
  // sets of `working_set_factor` (at least 1) times the budget, as a device would.
  std::string kv_placement = "in-place";
  double working_set_factor = 1.1;
  int64_t working_set_memory_bytes = 0;  // of the whole group; 0: as much as the KV memory
  int max_num_batched_tokens = 512;
  bool enable_prefix_caching = false;  // prompts reuse what earlier ones computed
  // For prefixes that are kept in this process, of the whole group; 0: as much as the KV memory.
  int64_t prefix_cache_memory_bytes = 0;
  // Of so many prompts that find something one computes the end of it again and compares; 0: none.
  int prefix_cache_verify_every = 0;
  std::string kvstore_socket;  // of the host's skv-kvstore, which keeps them then; empty: none
};

inline constexpr int64_t kDefaultKvBytes = int64_t{2} << 30;

// What a model file says, before any rank has loaded weights.
struct ModelDescription {
  loader::LlamaConfig config;
  text::TokenizerSpec tokenizer;
  std::shared_ptr<const text::SentenceSegmenter> segmenter;
  std::vector<TokenId> end_of_generation_ids;
  std::string fingerprint;  // of weights and tokenizer, see loader/fingerprint.h
  std::string name;         // the file's name without its extension
};

// Reads and checks the file; the errors are the loader's.
absl::StatusOr<ModelDescription> DescribeModel(const std::string& model_path);

class Rank {
 public:
  // Loads the shard that communicator's rank and world size call for. The communicator outlives it.
  // InvalidArgument: an option is out of range for this model, named by its flag.
  static absl::StatusOr<std::unique_ptr<Rank>> Open(const RankOptions& options,
                                                    const ModelDescription& description,
                                                    comm::Communicator* communicator,
                                                    const Clock& clock);
  ~Rank();

  RankExecutor* executor() { return executor_.get(); }
  const RankExecutor* executor() const { return executor_.get(); }
  const kv::KvPool& pool() const { return *pool_; }
  policy::KvHeads kv_heads() const {
    return {pool_->layout().NumHeads(), 2 * pool_->layout().RowBytes()};
  }
  const backend::Backend& backend() const { return *backend_; }
  size_t weight_bytes() const { return model_->weight_bytes(); }
  int max_model_len() const { return max_model_len_; }

  // Options for an engine over this rank: vocabulary, lengths, capacity (0.9 of the pool, all
  // slots) and end-of-generation tokens of `description`; scheduler limits as given.
  EngineOptions MakeEngineOptions(const ModelDescription& description, int max_num_seqs,
                                  int max_num_batched_tokens, int max_queue) const;

 private:
  Rank() = default;
  absl::Status OpenPrefixes(const RankOptions& options, const ModelDescription& description,
                            const comm::Communicator& communicator, const Clock& clock);
  int max_model_len_ = 0;
  double working_set_factor_ = 0;  // 0: in place
  std::unique_ptr<backend::Backend> backend_;
  std::unique_ptr<model::LlamaModel> model_;
  std::unique_ptr<kv::KvPool> pool_;
  std::unique_ptr<kv::SlotPool> slots_;
  std::unique_ptr<kvstore::BlockClient> blocks_;   // null: prompts are computed anew
  std::unique_ptr<prefix::PrefixCache> prefixes_;  // likewise
  std::unique_ptr<RankExecutor> executor_;
};

}  // namespace skv::engine
