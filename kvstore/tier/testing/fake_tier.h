#pragma once
// A tier in memory that does what a test says: it can be away, slow, full, behind, or damage what
// it keeps. Thread-safe.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "kvstore/tier/tier.h"

namespace skv::kvstore {

class FakeTier : public Tier {
 public:
  explicit FakeTier(std::string name = "fake") : name_(std::move(name)) {}

  std::string_view name() const override { return name_; }

  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                             TimePoint /*deadline*/) override {
    if (absl::Status failure = BeginCall(keys.size()); !failure.ok()) return failure;
    const MutexLock lock(&mutex_);
    std::vector<absl::StatusOr<TierValue>> values;
    for (const TierKey& key : keys) {
      const auto found = blocks_.find(NameOf(key));
      ++(found == blocks_.end() ? gauges_.num_misses : gauges_.num_hits);
      if (found == blocks_.end()) {
        values.emplace_back(absl::NotFoundError("not there"));
      } else if (found->second->empty()) {
        blocks_.erase(found);
        values.emplace_back(absl::DataLossError("cannot be read"));
      } else {
        values.emplace_back(TierValue{*found->second, found->second});
      }
    }
    return values;
  }

  absl::Status Put(std::span<const TierBlock> blocks, TimePoint /*deadline*/) override {
    if (absl::Status failure = BeginCall(blocks.size()); !failure.ok()) return failure;
    const MutexLock lock(&mutex_);
    if (is_full_) return absl::ResourceExhaustedError("full");
    if (is_behind_) return absl::DeadlineExceededError("behind");
    for (const TierBlock& block : blocks) {
      blocks_[NameOf(block.key)] = std::make_shared<Bytes>(block.bytes.begin(), block.bytes.end());
      ++gauges_.num_written_blocks;
    }
    return absl::OkStatus();
  }

  absl::Status Erase(std::span<const TierKey> keys, TimePoint /*deadline*/) override {
    if (absl::Status failure = BeginCall(keys.size()); !failure.ok()) return failure;
    const MutexLock lock(&mutex_);
    if (is_behind_) return absl::DeadlineExceededError("behind");
    for (const TierKey& key : keys) blocks_.erase(NameOf(key));
    return absl::OkStatus();
  }

  TierGauges gauges() const override {
    const MutexLock lock(&mutex_);
    TierGauges gauges = gauges_;
    gauges.is_on = is_on_;
    gauges.num_blocks = blocks_.size();
    return gauges;
  }

  // Called in each call of the tier, before anything is done.
  void OnCall(std::function<void()> on_call) {
    const MutexLock lock(&mutex_);
    on_call_ = std::move(on_call);
  }
  // Whether calls are answered, and the gauges say so.
  void SetOn(bool is_on) {
    const MutexLock lock(&mutex_);
    is_on_ = is_on;
  }
  void SetFull(bool is_full) {
    const MutexLock lock(&mutex_);
    is_full_ = is_full;
  }
  void SetBehind(bool is_behind) {
    const MutexLock lock(&mutex_);
    is_behind_ = is_behind;
  }
  bool Has(const TierKey& key) const {
    const MutexLock lock(&mutex_);
    return blocks_.contains(NameOf(key));
  }
  // Flips a bit of the last byte, which is the payload's. False: it is not there.
  bool Damage(const TierKey& key) {
    const MutexLock lock(&mutex_);
    const auto found = blocks_.find(NameOf(key));
    if (found == blocks_.end()) return false;
    // Whoever has the value already keeps it as it was.
    found->second = std::make_shared<Bytes>(*found->second);
    found->second->back() ^= std::byte{1};
    return true;
  }
  // The tier itself will find that it is damaged.
  void MakeUnreadable(const TierKey& key) {
    const MutexLock lock(&mutex_);
    blocks_.at(NameOf(key)) = std::make_shared<Bytes>();
  }
  // As if the tier had dropped it.
  void Lose(const TierKey& key) {
    const MutexLock lock(&mutex_);
    blocks_.erase(NameOf(key));
  }
  // One key's value under another's name.
  void Swap(const TierKey& a, const TierKey& b) {
    const MutexLock lock(&mutex_);
    std::swap(blocks_.at(NameOf(a)), blocks_.at(NameOf(b)));
  }
  size_t num_calls() const {
    const MutexLock lock(&mutex_);
    return num_calls_;
  }
  size_t largest_call() const {
    const MutexLock lock(&mutex_);
    return largest_call_;
  }

 private:
  using Bytes = std::vector<std::byte>;
  using Name = std::tuple<std::array<uint8_t, 16>, std::array<uint8_t, 16>, uint32_t>;
  static Name NameOf(const TierKey& key) {
    return {key.entry.prefix.bytes, key.entry.layout.bytes, key.rank};
  }

  absl::Status BeginCall(size_t num_keys) {
    std::function<void()> on_call;
    {
      const MutexLock lock(&mutex_);
      ++num_calls_;
      largest_call_ = std::max(largest_call_, num_keys);
      on_call = on_call_;
    }
    if (on_call) on_call();
    const MutexLock lock(&mutex_);
    if (is_on_) return absl::OkStatus();
    ++gauges_.num_failures;
    return absl::UnavailableError("away");
  }

  const std::string name_;
  mutable Mutex mutex_;
  std::function<void()> on_call_ SKV_GUARDED_BY(mutex_);
  bool is_on_ SKV_GUARDED_BY(mutex_) = true;
  bool is_full_ SKV_GUARDED_BY(mutex_) = false;
  bool is_behind_ SKV_GUARDED_BY(mutex_) = false;
  size_t num_calls_ SKV_GUARDED_BY(mutex_) = 0;
  size_t largest_call_ SKV_GUARDED_BY(mutex_) = 0;
  TierGauges gauges_ SKV_GUARDED_BY(mutex_);
  std::map<Name, std::shared_ptr<Bytes>> blocks_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv::kvstore
