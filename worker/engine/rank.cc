#include "worker/engine/rank.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "text/tokenizer.h"
#include "worker/engine/block_store.h"
#include "worker/loader/fingerprint.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/llama_weights.h"
#include "worker/loader/shard_plan.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::engine {
namespace {

// The share of the pool that admission gives away; the rest keeps free ranges long enough that
// prompts need not be cut into small blocks.
constexpr double kAdmittedShare = 0.9;

// Of cosines and sines, one row a position. A file may claim any context up to 2^24.
constexpr int64_t kMaxRopeTableBytes = int64_t{1} << 30;

std::string ModelName(const std::string& file_name) {
  return file_name.substr(0, file_name.rfind(".gguf"));
}

absl::StatusOr<int> ChooseMaxModelLen(const RankOptions& options,
                                      const loader::LlamaConfig& config) {
  const int wanted = options.max_model_len;
  const int chosen = wanted == 0 ? config.context_length : wanted;
  if (chosen < 1 || (chosen > config.context_length && !options.allow_untrained_length)) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len: ", wanted,
                                                   ", this model has a context of 1 to ",
                                                   config.context_length, " tokens"));
  }
  const int64_t most = kMaxRopeTableBytes / (config.head_dim * int64_t{sizeof(float)});
  if (chosen > most) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--max-model-len: ", wanted, ", which is a context of ", chosen,
        " tokens for this model; the rope table has room for ", most, ": set at most that"));
  }
  return chosen;
}

// One number of tokens for all ranks, though their tokens differ in bytes.
int64_t KvTokens(int64_t wanted_bytes, const loader::LlamaConfig& config, int element_bytes,
                 int max_model_len) {
  const int64_t token_bytes =
      int64_t{2} * config.num_layers * config.num_kv_heads * config.head_dim * element_bytes;
  if (wanted_bytes > 0) return wanted_bytes / token_bytes;
  const int64_t one_sequence = static_cast<int64_t>(max_model_len / kAdmittedShare) + 1024;
  return std::max(kDefaultKvBytes / token_bytes, one_sequence);
}

// 0 when rows are read in place.
absl::StatusOr<double> ChooseWorkingSetFactor(const RankOptions& options) {
  if (options.kv_placement == "in-place") return 0;
  if (options.kv_placement != "copied") {
    return absl::InvalidArgumentError(absl::StrCat("--kv-placement: \"", options.kv_placement,
                                                   "\", expected in-place or copied"));
  }
  // Below 1 no selection would fit. Also refuses what is no number.
  if (options.working_set_factor >= 1) return options.working_set_factor;
  return absl::InvalidArgumentError(
      absl::StrCat("--working-set-factor: ", options.working_set_factor, ", expected at least 1"));
}

absl::Status CheckPrefixOptions(const RankOptions& options) {
  if (options.enable_prefix_caching || options.kvstore_socket.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--kvstore-socket: \"", options.kvstore_socket,
      "\", where cached prefixes lie, with --enable-prefix-caching=false: set one of them only"));
}

// The fingerprint covers the configuration, its rope included.
LayoutId BlockLayout(const ModelDescription& description, const backend::Backend& backend,
                     const comm::Communicator& communicator) {
  return MakeLayoutId({.weights_fingerprint = description.fingerprint,
                       .adapter = "",
                       .kv_type = absl::StrCat(8 * backend.kv_element_bytes(), "-bit"),
                       .key_rotation = "rotated",
                       .rope = absl::StrCat("theta ", description.config.rope_theta),
                       .numerics_id = backend.numerics_id(),
                       .group_size = communicator.world_size(),
                       .prefill_kind = "exact"});
}

}  // namespace

absl::StatusOr<ModelDescription> DescribeModel(const std::string& model_path) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(model_path));
  ModelDescription description;
  description.name = ModelName(file->name());
  SKV_ASSIGN_OR_RETURN(description.config, loader::ReadLlamaConfig(*file));
  SKV_ASSIGN_OR_RETURN(description.tokenizer, loader::ReadTokenizerSpec(*file));
  SKV_ASSIGN_OR_RETURN(description.segmenter,
                       text::SentenceSegmenter::Create(description.tokenizer));
  description.fingerprint = loader::ToHex(loader::ModelFingerprint(
      loader::WeightsFingerprint(*file, description.config), description.tokenizer));
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(description.tokenizer));
  description.end_of_generation_ids.assign(tokenizer->end_of_generation_ids().begin(),
                                           tokenizer->end_of_generation_ids().end());
  return description;
}

Rank::~Rank() = default;

absl::StatusOr<std::unique_ptr<Rank>> Rank::Open(const RankOptions& options,
                                                 const ModelDescription& description,
                                                 comm::Communicator* communicator,
                                                 const Clock& clock) {
  const loader::LlamaConfig& config = description.config;
  const int threads = options.num_threads > 0 ? options.num_threads
                                              : std::max(1u, std::thread::hardware_concurrency());
  SKV_RETURN_IF_ERROR(CheckPrefixOptions(options));
  auto rank = std::unique_ptr<Rank>(new Rank);
  SKV_ASSIGN_OR_RETURN(rank->max_model_len_, ChooseMaxModelLen(options, config));
  SKV_ASSIGN_OR_RETURN(rank->working_set_factor_, ChooseWorkingSetFactor(options));
  SKV_ASSIGN_OR_RETURN(rank->backend_, backend::CreateBackend(options.backend, threads));
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(options.model_path));
  SKV_ASSIGN_OR_RETURN(const auto tensors, loader::FindLlamaTensors(*file, config));
  SKV_ASSIGN_OR_RETURN(
      const auto plan,
      loader::MakeShardPlan(config, tensors, communicator->world_size(), communicator->rank()));
  const model::LlamaModel::Options model_options{.max_rows = options.max_num_batched_tokens,
                                                 .max_positions = rank->max_model_len_};
  SKV_ASSIGN_OR_RETURN(rank->model_, model::LlamaModel::Load(config, tensors, plan, model_options,
                                                             rank->backend_.get(), communicator));
  file->DropAllPages();
  const int64_t kv_tokens = KvTokens(options.kv_cache_memory_bytes, config,
                                     rank->backend_->kv_element_bytes(), rank->max_model_len_);
  SKV_ASSIGN_OR_RETURN(rank->pool_, kv::KvPool::Create(rank->model_->kv_layout(), kv_tokens));
  const int64_t slot_bytes = options.working_set_memory_bytes > 0 ? options.working_set_memory_bytes
                                                                  : options.kv_cache_memory_bytes;
  rank->slots_ = std::make_unique<kv::SlotPool>(
      rank->model_->kv_layout(),
      KvTokens(slot_bytes, config, rank->backend_->kv_element_bytes(), rank->max_model_len_));
  rank->executor_ =
      std::make_unique<RankExecutor>(rank->model_.get(), rank->pool_.get(), rank->slots_.get(),
                                     communicator, description.segmenter, clock);
  if (options.enable_prefix_caching) {
    SKV_RETURN_IF_ERROR(rank->OpenPrefixes(options, description, *communicator, clock));
  }
  return rank;
}

absl::Status Rank::OpenPrefixes(const RankOptions& options, const ModelDescription& description,
                                const comm::Communicator& communicator, const Clock& clock) {
  const int64_t wanted_bytes = options.prefix_cache_memory_bytes > 0
                                   ? options.prefix_cache_memory_bytes
                                   : options.kv_cache_memory_bytes;
  const int64_t tokens =
      KvTokens(wanted_bytes, description.config, backend_->kv_element_bytes(), max_model_len_);
  const kv::KvLayout& layout = pool_->layout();
  SKV_ASSIGN_OR_RETURN(blocks_,
                       OpenBlockStore({.socket = options.kvstore_socket,
                                       .capacity_bytes = tokens * layout.TokenBytes(),
                                       .layout = BlockLayout(description, *backend_, communicator),
                                       .rank = communicator.rank(),
                                       .world_size = communicator.world_size()}));
  prefixes_ = std::make_unique<prefix::PrefixCache>(blocks_.get(), layout, clock);
  executor_->UsePrefixes(prefixes_.get(), options.prefix_cache_verify_every);
  return absl::OkStatus();
}

EngineOptions Rank::MakeEngineOptions(const ModelDescription& description, int max_num_seqs,
                                      int max_num_batched_tokens, int max_queue) const {
  EngineOptions options;
  options.scheduler.capacity_tokens =
      static_cast<int64_t>(kAdmittedShare * pool_->capacity_tokens());
  options.scheduler.unit_tokens = kv::kUnitTokens;
  options.scheduler.page_tokens = kv::kSlotsPerPage;
  options.scheduler.working_set_factor = working_set_factor_;
  options.scheduler.capacity_slots = slots_->capacity_slots();
  options.scheduler.max_num_seqs = max_num_seqs;
  options.scheduler.max_num_batched_tokens = max_num_batched_tokens;
  options.scheduler.max_chunk_tokens = max_num_batched_tokens;
  options.scheduler.max_queue = max_queue;
  options.segmenter = description.segmenter;
  if (prefixes_ != nullptr) {
    options.prefixes = {.model_name = description.name,
                        .model_revision = description.fingerprint,
                        .segmenter_id = std::string(text::kSegmenterId)};
  }
  options.vocab_size = description.config.vocab_size;
  options.max_model_len = max_model_len_;
  options.end_of_generation_ids = description.end_of_generation_ids;
  return options;
}

}  // namespace skv::engine
