#include "worker/engine/testing/local_engine.h"

#include <algorithm>
#include <cstring>

#include "common/status.h"
#include "worker/comm/self_communicator.h"

namespace skv::engine {
namespace {

constexpr auto kPatience = std::chrono::minutes(5);

// FNV-1a over the words of the row.
uint64_t HashRow(const float* row, int width) {
  uint64_t hash = 14695981039346656037ull;
  for (int i = 0; i < width; ++i) {
    uint32_t word;
    std::memcpy(&word, row + i, sizeof(word));
    hash = (hash ^ word) * 1099511628211ull;
  }
  return hash;
}

}  // namespace

bool CollectingSink::OnToken(const TokenEvent& event) {
  MutexLock lock(&mutex_);
  tokens_[event.sample_idx].push_back(event.token.token);
  auto& explanations = explanations_[event.sample_idx];
  explanations.insert(explanations.end(), event.explanations.begin(), event.explanations.end());
  changed_.NotifyAll();
  return true;
}

void CollectingSink::OnFinish(const FinishEvent& event) {
  MutexLock lock(&mutex_);
  if (event.explanation) explanations_[event.sample_idx].push_back(*event.explanation);
  finishes_[event.sample_idx] = event;
  changed_.NotifyAll();
}

bool CollectingSink::AllFinished() const {
  return std::all_of(finishes_.begin(), finishes_.end(),
                     [](const auto& f) { return f.has_value(); });
}

bool CollectingSink::WaitForFinish() {
  MutexLock lock(&mutex_);
  return changed_.WaitUntil(&mutex_, RealClock().Now() + kPatience, [&] { return AllFinished(); });
}

bool CollectingSink::WaitForTokens(size_t count) {
  MutexLock lock(&mutex_);
  return changed_.WaitUntil(&mutex_, RealClock().Now() + kPatience,
                            [&] { return tokens_[0].size() >= count || finishes_[0].has_value(); });
}

std::vector<TokenId> CollectingSink::tokens(int sample_idx) const {
  MutexLock lock(&mutex_);
  return tokens_[sample_idx];
}

std::vector<Explanation> CollectingSink::explanations(int sample_idx) const {
  MutexLock lock(&mutex_);
  return explanations_[sample_idx];
}

FinishEvent CollectingSink::finish(int sample_idx) const {
  MutexLock lock(&mutex_);
  return finishes_[sample_idx].value();
}

void StepRecorder::OnStep(const scheduler::PlannedStep& step, const std::vector<float>& logits) {
  MutexLock lock(&mutex_);
  StepRecord record;
  record.released = step.plan.released;
  record.num_rows = static_cast<int>(step.plan.tokens.size());
  std::vector<uint64_t> hashes(step.plan.chunks.size());
  const float* row = logits.data();
  for (size_t i = 0; i < step.plan.chunks.size(); ++i) {
    const scheduler::Chunk& chunk = step.plan.chunks[i];
    record.sequences.push_back(chunk.id);
    const bool decode =
        chunk.position_class == scheduler::PositionClass::kGenerated && chunk.num_tokens == 1;
    ++(decode ? record.num_decodes : record.num_prefills);
    if (!chunk.sample) continue;
    hashes[i] = HashRow(row, vocab_size_);
    row += vocab_size_;
  }
  for (const scheduler::Draw& draw : step.draws) {
    const auto [it, is_new] = hashes_[draw.id].emplace(draw.position, hashes[draw.chunk_idx]);
    if (!is_new && it->second != hashes[draw.chunk_idx]) ++differences_;
  }
  if (record.num_rows > 0 || !record.released.empty()) steps_.push_back(std::move(record));
}

std::vector<StepRecord> StepRecorder::steps() const {
  MutexLock lock(&mutex_);
  return steps_;
}

std::map<int, uint64_t> StepRecorder::logit_hashes(SequenceId id) const {
  MutexLock lock(&mutex_);
  const auto it = hashes_.find(id);
  return it == hashes_.end() ? std::map<int, uint64_t>() : it->second;
}

int StepRecorder::differences() const {
  MutexLock lock(&mutex_);
  return differences_;
}

absl::StatusOr<std::unique_ptr<LocalEngine>> LocalEngine::Open(const LocalEngineOptions& options) {
  auto local = std::unique_ptr<LocalEngine>(new LocalEngine);
  SKV_ASSIGN_OR_RETURN(ModelDescription description, DescribeModel(options.rank.model_path));
  local->recorder_ = std::make_unique<StepRecorder>(description.config.vocab_size);
  SKV_ASSIGN_OR_RETURN(local->engine_, InProcessEngine::Open(
                                           {.rank = options.rank,
                                            .max_num_seqs = options.max_num_seqs,
                                            .max_queue = options.max_queue,
                                            .clock = options.clock,
                                            .observer = local->recorder_.get(),
                                            .audit_fraction = options.audit_fraction,
                                            .audit_sink = options.audit_sink},
                                           std::move(description), comm::CreateSelfCommunicator()));
  return local;
}

}  // namespace skv::engine
