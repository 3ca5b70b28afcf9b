#include "kvstore/server/server_status.h"

#include "absl/strings/str_cat.h"

namespace skv::kvstore {

void ServerStatus::Publish(const ServerGauges& gauges) {
  MutexLock lock(&mutex_);
  gauges_ = gauges;
}

void ServerStatus::TurnEnds() { last_turn_ = clock_->Now(); }

ServerGauges ServerStatus::gauges() const {
  MutexLock lock(&mutex_);
  return gauges_;
}

double ServerStatus::turn_age_seconds() const {
  return ToSeconds(clock_->Now() - last_turn_.load());
}

absl::Status ServerStatus::CheckLive(Duration max_age) const {
  const double age = turn_age_seconds();
  if (!is_serving_ || age < ToSeconds(max_age)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the sessions' thread has ended no turn for ", age,
                                             " s, expected one every ", "second; its limit is ",
                                             ToSeconds(max_age), " s"));
}

absl::Status ServerStatus::CheckReady() const {
  return is_serving_ ? absl::OkStatus() : absl::UnavailableError("starting or stopping");
}

}  // namespace skv::kvstore
