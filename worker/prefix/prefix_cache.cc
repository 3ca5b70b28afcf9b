#include "worker/prefix/prefix_cache.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::prefix {
namespace {

using kvstore::BlockClient;
using kvstore::LeasedBlock;
using kvstore::LeasedChain;
using Outcome = kvstore::Creation::Outcome;

constexpr int kLogSeconds = 10;
constexpr Duration kGiveUpFor = std::chrono::minutes(1);
constexpr size_t kMaxGivenUp = 1024;

void LogFailure(std::string_view call, const absl::Status& status) {
  SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds)
      << "prefix reuse goes on without a block: " << call << ": " << status.message();
}

bool Is(const absl::StatusOr<kvstore::Creation>& creation, Outcome outcome) {
  return creation.ok() && creation->outcome == outcome;
}

}  // namespace

struct PrefixCache::Prompt {
  explicit Prompt(const PrefixRequest& looked_up)
      : request(looked_up),
        keys(PrefixKeys(looked_up.root, looked_up.tokens, looked_up.sentence_ends)),
        num_cacheable(
            std::ranges::upper_bound(looked_up.sentence_ends, looked_up.max_cached_tokens) -
            looked_up.sentence_ends.begin()) {}

  int Begin(size_t sentence) const {
    return sentence == 0 ? 0 : request.sentence_ends[sentence - 1];
  }
  int Length(size_t sentence) const { return request.sentence_ends[sentence] - Begin(sentence); }

  const PrefixRequest& request;
  const std::vector<PrefixKey> keys;  // of its sentences
  const size_t num_cacheable;         // of them, that a hit may have
};

PrefixCache::PrefixCache(BlockClient* client, const kv::KvLayout& layout, const Clock& clock)
    : client_(client), layout_(layout), clock_(clock) {}

void PrefixCache::Hit::Truncate(int num_tokens) {
  int end = 0;
  for (size_t i = 0; end < num_cached_tokens; ++i) {
    end += blocks[i]->capacity();
    if (end > num_tokens) blocks[i] = nullptr;
  }
  num_cached_tokens = num_tokens;
}

void PrefixCache::Hit::KeepClaims(size_t num_sentences) {
  size_t num_found = 0;
  for (int end = 0; end < num_cached_tokens; ++num_found) end += blocks[num_found]->capacity();
  const size_t num_kept = std::max(num_sentences, num_found);
  for (size_t i = num_kept; i < blocks.size(); ++i) blocks[i] = nullptr;
}

PrefixCache::Hit PrefixCache::LookUp(const PrefixRequest& request) {
  StopWaiting(request.id);
  const Prompt prompt(request);
  Hit hit = Find(prompt);
  Creations creations = CreateRest(prompt, hit);
  const auto is_missing_one = [&](Outcome outcome) {
    return hit.blocks.size() < prompt.num_cacheable && Is(creations[0], outcome);
  };
  // It was sealed between the two calls; or it is damaged, and will not be found now either.
  for (bool is_longer = true; is_longer && is_missing_one(Outcome::kExists);) {
    const size_t num_found = hit.blocks.size();
    creations.clear();
    hit = Find(prompt);
    creations = CreateRest(prompt, hit);
    is_longer = hit.blocks.size() > num_found;
  }
  hit.in_progress = is_missing_one(Outcome::kInProgress) &&
                    IsWorthWaiting(prompt.keys[hit.blocks.size()], request.may_wait) &&
                    Wait(prompt, hit, creations);
  if (hit.in_progress) {
    ++counters_.num_waits;
    creations.clear();
    SendEnds();
    return hit;
  }
  Claim(prompt, std::move(creations), &hit);
  return hit;
}

// A key whose writer is stopped, or has sealed it on some ranks only, would hold everybody up.
bool PrefixCache::IsWorthWaiting(const PrefixKey& missing, bool may_wait) {
  const TimePoint now = clock_.Now();
  std::erase_if(given_up_, [&](const auto& entry) { return entry.second <= now; });
  if (!may_wait && given_up_.size() < kMaxGivenUp) given_up_.emplace(missing, now + kGiveUpFor);
  return may_wait && !given_up_.contains(missing);
}

PrefixCache::Hit PrefixCache::Find(const PrefixRequest& request) { return Find(Prompt(request)); }

void PrefixCache::ClaimRest(const PrefixRequest& request, Hit* hit) {
  const Prompt prompt(request);
  Claim(prompt, CreateRest(prompt, *hit), hit);
}

PrefixCache::Hit PrefixCache::Find(const Prompt& prompt) {
  Hit hit;
  auto rest = std::span(prompt.keys).first(prompt.num_cacheable);
  while (!rest.empty()) {
    const auto part = rest.first(std::min(rest.size(), BlockClient::kMaxChainKeys));
    if (FindPart(prompt, part, &hit) < part.size()) break;
    rest = rest.subspan(part.size());
  }
  return hit;
}

// Returns how many there are.
size_t PrefixCache::FindPart(const Prompt& prompt, std::span<const PrefixKey> keys, Hit* hit) {
  absl::StatusOr<LeasedChain> found = client_->Get(keys, Deadline());
  if (!found.ok()) {
    LogFailure("get", found.status());
    return 0;
  }
  const auto chain = std::make_shared<const LeasedChain>(*std::move(found));
  for (size_t i = 0; i < chain->size(); ++i) {
    const LeasedBlock& block = chain->blocks()[i];
    const int num_tokens = prompt.Length(hit->blocks.size());
    const size_t num_bytes = layout_.TokenBytes() * num_tokens;
    if (block.num_tokens != num_tokens || block.payload.size() != num_bytes) {
      LogFailure("get", absl::DataLossError(
                            absl::StrCat("block ", ToHex(keys[i]), " has ", block.num_tokens,
                                         " tokens, ", block.payload.size(), " bytes, expected ",
                                         num_tokens, " tokens, ", num_bytes, " bytes")));
      return i;
    }
    hit->blocks.push_back(std::make_shared<FoundBlock>(chain, i));
    hit->num_cached_tokens += num_tokens;
  }
  return chain->size();
}

// What the hit does not have.
PrefixCache::Creations PrefixCache::CreateRest(const Prompt& prompt, const Hit& hit) {
  std::vector<kvstore::NewSentence> sentences;
  for (size_t i = hit.blocks.size(); i < prompt.keys.size(); ++i) {
    const auto tokens = prompt.request.tokens.subspan(prompt.Begin(i), prompt.Length(i));
    sentences.push_back({.key = prompt.keys[i],
                         .parent = i == 0 ? prompt.request.root : prompt.keys[i - 1],
                         .is_first = i == 0,
                         .tokens = {tokens.begin(), tokens.end()},
                         .payload_bytes = layout_.TokenBytes() * tokens.size()});
  }
  if (sentences.empty()) return {};
  return client_->Create(std::move(sentences), Deadline());
}

int PrefixCache::Recompute(Hit* hit) {
  size_t begin = 0;
  for (int end = 0; end < hit->num_cached_tokens; ++begin) end += hit->blocks[begin]->capacity();
  for (int num_tokens = 0; begin > 0; --begin) {
    std::shared_ptr<kv::PromptBlock>& block = hit->blocks[begin - 1];
    num_tokens += block->capacity();
    if (num_tokens > kMaxRecomputedTokens) break;
    hit->num_cached_tokens -= block->capacity();
    block = std::make_shared<RecomputedBlock>(block, layout_.TokenBytes() * block->capacity(),
                                              recompute_counters_);
  }
  return hit->num_cached_tokens;
}

// For the last sentence of those in progress that follow each other: a prompt is written in order,
// so its end means that of all, and a client may wait for few keys only.
bool PrefixCache::Wait(const Prompt& prompt, const Hit& hit, const Creations& creations) {
  size_t last = hit.blocks.size();
  while (last + 1 < prompt.num_cacheable &&
         Is(creations[last + 1 - hit.blocks.size()], Outcome::kInProgress)) {
    ++last;
  }
  const PrefixKey& key = prompt.keys[last];
  const absl::Status waiting = client_->Wait(std::span(&key, 1), Deadline());
  if (waiting.ok()) {
    awaited_[prompt.request.id] = key;
  } else {
    LogFailure("wait", waiting);
  }
  return waiting.ok();
}

void PrefixCache::Claim(const Prompt& prompt, Creations creations, Hit* hit) {
  counters_.num_looked_up_tokens += prompt.request.tokens.size();
  counters_.num_hit_tokens += hit->num_cached_tokens;
  absl::Status failure;  // the first: children of what was not created fail, too
  for (absl::StatusOr<kvstore::Creation>& creation : creations) {
    std::shared_ptr<kv::PromptBlock>& block = hit->blocks.emplace_back();
    if (!creation.ok() || creation->outcome != Outcome::kCreated) ++counters_.num_private_blocks;
    if (!creation.ok()) {
      ++counters_.num_failed_blocks;
      if (failure.ok()) hit->num_offered = hit->blocks.size() - 1;
      failure.Update(creation.status());
    } else if (creation->outcome == Outcome::kCreated) {
      ++counters_.num_claimed_blocks;
      block = std::make_shared<ClaimedBlock>(std::move(creation->block), completed_);
    }
  }
  if (failure.ok()) hit->num_offered = hit->blocks.size();
  if (!failure.ok()) LogFailure("create", failure);
}

absl::Status PrefixCache::SealCompleted() {
  client_->Poll(clock_.Now());
  const SealQueue blocks = std::exchange(*completed_, {});
  if (blocks.empty()) {
    SendEnds();
    return absl::OkStatus();
  }
  std::vector<kvstore::WritableBlock> writable;
  writable.reserve(blocks.size());
  for (const std::shared_ptr<ClaimedBlock>& block : blocks) {
    writable.push_back(block->TakeWritable());
  }
  std::vector<absl::StatusOr<kvstore::SealedBlock>> sealed =
      client_->Seal(std::move(writable), /*is_tip=*/true, Deadline());
  absl::Status refused;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!sealed[i].ok()) {
      ++counters_.num_failed_blocks;
      LogFailure("seal", sealed[i].status());
      const bool is_read = blocks[i].use_count() > 1;
      if (is_read) refused.Update(absl::InternalError(sealed[i].status().message()));
      continue;
    }
    const bool is_private = sealed[i]->visibility == kvstore::SealedBlock::Visibility::kPrivate;
    ++(is_private ? counters_.num_private_blocks : counters_.num_sealed_blocks);
    blocks[i]->Hold(std::move(sealed[i]->block));
  }
  return Annotate(refused, "a block that sequences read lost its memory");
}

// A store that is lost holds nothing of ours any more.
void PrefixCache::SendEnds() { client_->Flush(Deadline()).IgnoreError(); }

std::vector<SequenceId> PrefixCache::TakeReady() {
  const kvstore::Notices notices = client_->TakeNotices();
  absl::flat_hash_set<PrefixKey> told(notices.sealed.begin(), notices.sealed.end());
  told.insert(notices.abandoned.begin(), notices.abandoned.end());
  std::vector<SequenceId> ready;
  std::erase_if(awaited_, [&](const auto& waiting) {
    if (!told.contains(waiting.second)) return false;
    ready.push_back(waiting.first);
    return true;
  });
  return ready;
}

}  // namespace skv::prefix
