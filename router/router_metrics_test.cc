#include "router/router_metrics.h"

#include "common/testing/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/testing/fake_group_client.h"
#include "router/testing/fake_worker_source.h"

namespace skv::router {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RouterMetricsTest, OutstandingTokensAreThoseOfTheGroupsThatThereAre) {
  FakeClock clock;
  FakeGroups groups;
  absl::StatusOr<std::vector<std::string>> list = std::vector<std::string>{"a:1"};
  Membership membership({}, std::make_unique<FakeWorkerSource>(&list), groups.factory(),
                        FindPolicy("round_robin").value(), &clock);
  Router router(
      {}, &membership, &clock, [] { return 1; }, [](const RelayStats&) {});
  Metrics metrics;
  RouterMetrics router_metrics(&metrics);
  router_metrics.Watch(&router, &membership);
  const auto pass_a_second = [&] {
    clock.Advance(std::chrono::seconds(1));
    membership.Tick();
  };
  pass_a_second();
  list = std::vector<std::string>{"b:2"};
  membership.snapshot()->groups.begin()->second.group->outstanding()->fetch_add(5);
  pass_a_second();
  const std::string both = metrics.Serialize();
  EXPECT_THAT(both, HasSubstr("skv_router_outstanding_tokens{address=\"a:1\"} 5\n"));
  EXPECT_THAT(both, HasSubstr("skv_router_outstanding_tokens{address=\"b:2\"} 0\n"));
  membership.snapshot()->groups.begin()->second.group->outstanding()->store(0);
  pass_a_second();
  EXPECT_THAT(metrics.Serialize(), Not(HasSubstr("a:1")));
}

}  // namespace
}  // namespace skv::router
