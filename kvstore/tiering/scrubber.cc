#include "kvstore/tiering/scrubber.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "kvstore/tiering/entry_check.h"

namespace skv::kvstore {
namespace {

constexpr int kLogSeconds = 10;
constexpr auto kStepTime = std::chrono::seconds(1);
// Held at one time: 16 entries of 460 KB are compared in 2 ms.
constexpr uint32_t kMaxPlaces = 16;

}  // namespace

Scrubber::Scrubber(const ScrubberOptions& options, StoreOwner* owner, const Clock* clock)
    : options_(options), owner_(owner), clock_(clock) {}

Scrubber::~Scrubber() { SKV_CHECK(!thread_.joinable()); }

void Scrubber::Start() {
  thread_ = std::thread([this] {
    while (Step(clock_->Now() + kStepTime)) {
    }
  });
}

void Scrubber::Stop() {
  {
    const MutexLock lock(&mutex_);
    is_stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Scrubber::Report(absl::Span<const EntryKey> keys) {
  const MutexLock lock(&mutex_);
  gauges_.num_reports += keys.size();
  const size_t num_taken = std::min(keys.size(), options_.max_reports - reports_.size());
  gauges_.num_dropped_reports += keys.size() - num_taken;
  reports_.insert(reports_.end(), keys.begin(), keys.begin() + static_cast<ptrdiff_t>(num_taken));
  changed_.NotifyOne();
}

absl::StatusOr<uint64_t> Scrubber::Verify() {
  const MutexLock lock(&mutex_);
  if (verification_.is_running) {
    return absl::ResourceExhaustedError(absl::StrCat("verify: verification ", verification_.id,
                                                     " is still running; wait for its end"));
  }
  verification_ = {.id = verification_.id + 1, .is_running = true};
  verify_next_ = 0;
  changed_.NotifyOne();
  return verification_.id;
}

Verification Scrubber::verification() const {
  const MutexLock lock(&mutex_);
  return verification_;
}

// False: stopped. Sets `reported` to the first of what was reported.
bool Scrubber::WaitForWork(TimePoint deadline, std::vector<EntryKey>* reported) {
  const MutexLock lock(&mutex_);
  const auto is_stopped = [&]() SKV_REQUIRES(mutex_) { return is_stopped_; };
  const auto has_work = [&]() SKV_REQUIRES(mutex_) {
    return is_stopped_ || !reports_.empty() || verify_next_.has_value();
  };
  // Reports keep to the rate, too.
  changed_.WaitUntil(&mutex_, std::min(check_from_, deadline), is_stopped);
  if (clock_->Now() >= check_from_ && IsReportsTurn()) {
    const TimePoint walk_from = options_.bytes_per_second > 0 ? walk_from_ : deadline;
    changed_.WaitUntil(&mutex_, std::min(walk_from, deadline), has_work);
    const auto end =
        reports_.begin() + static_cast<ptrdiff_t>(std::min<size_t>(reports_.size(), kMaxPlaces));
    reported->assign(reports_.begin(), end);
    reports_.erase(reports_.begin(), end);
  }
  return !is_stopped_;
}

// However much is reported, every other check is one of the verification or the walk.
bool Scrubber::IsReportsTurn() const {
  const bool is_walks_time = options_.bytes_per_second > 0 && clock_->Now() >= walk_from_;
  return !was_report_ || !(verify_next_.has_value() || is_walks_time);
}

std::optional<EntryIdx> Scrubber::NextToVerify() const {
  const MutexLock lock(&mutex_);
  return clock_->Now() >= check_from_ ? verify_next_ : std::nullopt;
}

bool Scrubber::Step(TimePoint deadline) {
  std::vector<EntryKey> reported;
  if (!WaitForWork(deadline, &reported)) return false;
  if (!reported.empty()) {
    std::vector<HeldEntry> held;
    owner_->Run([&](TierDesk* desk) { held = desk->Hold(reported); });
    const uint64_t rate = options_.bytes_per_second;
    Check(held, {rate == 0 ? kReportRate : rate, kMinPause});
    was_report_ = true;
  } else if (const std::optional<EntryIdx> begin = NextToVerify(); begin.has_value()) {
    was_report_ = false;
    VerifyNext(*begin);
  } else if (options_.bytes_per_second > 0 && clock_->Now() >= std::max(check_from_, walk_from_)) {
    was_report_ = false;
    Walk();
  }
  return true;
}

// The same pieces as the walk's, so that no request waits longer for it.
void Scrubber::VerifyNext(EntryIdx begin) {
  VerifiedPiece piece;
  const bool has_run = owner_->Run([&](TierDesk* desk) {
    piece.next = desk->HoldNext(begin, kMaxPlaces, &piece.held, &piece.num_refused);
    piece.num_places = desk->num_places();
  });
  if (!has_run) {
    check_from_ = clock_->Now() + kMinPause;
    return;
  }
  if (piece.num_refused > 0 && IsWorthRetrying(verification().id)) {
    std::vector<LeaseId> leases;
    for (const HeldEntry& entry : piece.held) leases.push_back(entry.lease);
    owner_->Run([&](TierDesk* desk) { desk->Release(leases); });
    check_from_ = clock_->Now() + kRefusedPause;
    return;
  }
  piece.damaged =
      Check(piece.held, {std::max(kVerifyRate, options_.bytes_per_second), Duration::zero()});
  NoteVerified(piece);
}

// All refused pieces of a verification share one time, so that it ends.
bool Scrubber::IsWorthRetrying(uint64_t verification) {
  const TimePoint now = clock_->Now();
  if (std::exchange(refused_verification_, verification) != verification) {
    retry_until_ = now + kRefusedTime;
  }
  return now < retry_until_;
}

void Scrubber::NoteVerified(const VerifiedPiece& piece) {
  const MutexLock lock(&mutex_);
  Verification& done = verification_;
  done.num_entries += piece.held.size();
  for (const HeldEntry& entry : piece.held) {
    for (const auto& block : entry.blocks) done.num_bytes += block.size();
  }
  done.num_damaged_entries += piece.damaged.size();
  const size_t num_named =
      std::min(piece.damaged.size(), Verification::kMaxNamed - done.damaged.size());
  done.damaged.insert(done.damaged.end(), piece.damaged.begin(),
                      piece.damaged.begin() + static_cast<ptrdiff_t>(num_named));
  done.num_skipped_entries += piece.num_refused;
  done.num_places = piece.num_places;
  done.num_walked_places = piece.next.value_or(piece.num_places);
  verify_next_ = piece.next;
  done.is_running = piece.next.has_value();
}

void Scrubber::Walk() {
  std::vector<HeldEntry> held;
  std::optional<EntryIdx> next;
  const bool has_run =
      owner_->Run([&](TierDesk* desk) { next = desk->HoldNext(next_, kMaxPlaces, &held); });
  if (!has_run) {
    check_from_ = clock_->Now() + kMinPause;
    return;
  }
  Check(held, {options_.bytes_per_second, kMinPause});
  next_ = next.value_or(0);
  if (next.has_value()) return;
  walk_from_ = std::max(walk_from_, clock_->Now() + kRoundPause);
  const MutexLock lock(&mutex_);
  ++gauges_.num_rounds;
}

// Drops what is damaged, and returns it. The next check is not before these bytes have had their
// time.
std::vector<EntryKey> Scrubber::Check(const std::vector<HeldEntry>& held, const Pace& pace) {
  std::vector<LeaseId> leases;
  std::vector<EntryKey> damaged;
  uint64_t num_bytes = 0;
  for (const HeldEntry& entry : held) {
    leases.push_back(entry.lease);
    for (const auto& block : entry.blocks) num_bytes += block.size();
    const absl::Status check = CheckEntry(entry);
    if (check.ok()) continue;
    SKV_LOG_EVERY_SECONDS(WARNING, kLogSeconds) << "a block is dropped: " << check.ToString();
    damaged.push_back(entry.key);
  }
  if (!held.empty()) {
    owner_->Run([&](TierDesk* desk) {
      desk->Release(leases);
      desk->Invalidate(damaged);
    });
  }
  const std::chrono::duration<double> pause(static_cast<double>(num_bytes) /
                                            static_cast<double>(pace.bytes_per_second));
  check_from_ =
      clock_->Now() + std::max(std::chrono::duration_cast<Duration>(pause), pace.min_pause);
  walk_from_ = std::max(walk_from_, check_from_);
  const MutexLock lock(&mutex_);
  gauges_.num_checked_bytes += num_bytes;
  gauges_.num_damaged_entries += damaged.size();
  return damaged;
}

ScrubberGauges Scrubber::gauges() const {
  const MutexLock lock(&mutex_);
  ScrubberGauges gauges = gauges_;
  gauges.num_waiting_reports = reports_.size();
  return gauges;
}

}  // namespace skv::kvstore
