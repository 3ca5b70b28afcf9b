#pragma once
// Relays behind a whole router, over groups that the test plays.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "common/testing/fake_clock.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/testing/fake_group_client.h"
#include "router/testing/outstanding.h"

namespace skv::router {

class RecordingClient : public ClientStream {
 public:
  bool Write(Event event) override {
    if (full) return false;
    text += event.text;
    events.push_back(std::move(event));
    return true;
  }
  void Finish(absl::Status s) override {
    ++num_finishes;
    status = std::move(s);
  }

  std::vector<Event> events;
  std::string text;
  absl::Status status;
  int num_finishes = 0;
  bool full = false;
};

// Groups a:1, b:2, c:3 in turn, behind a whole Router.
class RelayTest : public testing::Test {
 protected:
  void SetUp() override { Open({.max_concurrent_requests = 4, .migration_wait = {}}); }

  // Everything anew: also for the next round of a test.
  void Open(RouterOptions options, const MembershipOptions& membership_options = {}) {
    TearDown();
    relays_.clear();
    stats_.clear();
    router_ = nullptr;
    membership_ = nullptr;
    groups_.Clear();
    client_ = std::make_shared<RecordingClient>();
    clock_.Advance(std::chrono::seconds(100));
    membership_ = std::make_unique<Membership>(
        membership_options, MakeStaticWorkerSource({"a:1", "b:2", "c:3"}).value(),
        groups_.factory(), FindPolicy("round_robin").value(), &clock_);
    Settle();
    router_ = std::make_unique<Router>(
        options, membership_.get(), &clock_, [this] { return ++draws_; },
        [this](const RelayStats& stats) {
          stats_.push_back(stats);
          finishes_at_end_ = client_->num_finishes;
          in_flight_at_end_ = router_->num_in_flight();
        });
  }

  // A relay and its group's stream hold each other until one of them ends.
  void TearDown() override {
    for (const auto& relay : relays_) relay->Cancel(absl::CancelledError("the test is over"));
  }

  // The other groups are not to be had any more.
  void LeaveOnly(const std::string& address) {
    for (const char* other : {"a:1", "b:2", "c:3"}) {
      if (other != address) groups_[other].probe = absl::UnavailableError("connection refused");
    }
    clock_.Advance(std::chrono::seconds(1));
    Settle();
  }
  void Settle() {
    for (int i = 0; i < 4; ++i) membership_->Tick();
  }
  static Request MakeRequest() {
    Request request;
    request.prompt = TextPrompt{"hello"};
    request.max_tokens = 10;
    return request;
  }
  absl::StatusOr<std::shared_ptr<Relay>> Generate(Request request,
                                                  Deadline deadline = Deadline::max()) {
    SKV_ASSIGN_OR_RETURN(ConcurrencyLimiter::Ticket ticket, router_->Enter());
    SKV_ASSIGN_OR_RETURN(
        std::shared_ptr<Relay> relay,
        router_->Generate(std::move(request), deadline, clock_.Now(), std::move(ticket), client_));
    relays_.push_back(relay);
    return relay;
  }
  int64_t Outstanding(const std::string& address) const {
    return OutstandingAt(*membership_, address);
  }
  FakeGroupStream& Stream(const std::string& address) { return *groups_[address].streams.back(); }

  FakeClock clock_;
  FakeGroups groups_;
  uint64_t draws_ = 0;
  std::vector<RelayStats> stats_;
  int finishes_at_end_ = -1;
  int in_flight_at_end_ = -1;
  std::unique_ptr<Membership> membership_;
  std::unique_ptr<Router> router_;
  std::shared_ptr<RecordingClient> client_ = std::make_shared<RecordingClient>();
  std::vector<std::shared_ptr<Relay>> relays_;
};

}  // namespace skv::router
