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

TEST(RouterMetricsTest, ExpectedAndCachedTokensCountWhereATokenCame) {
  Metrics metrics;
  RouterMetrics router_metrics(&metrics);
  RelayStats stats{.ttft_seconds = 1, .expected_cached_tokens = 40};
  stats.usage = {.prompt_tokens = 100, .cached_tokens = 30};
  router_metrics.OnEnd(stats);
  stats.ttft_seconds = -1;
  router_metrics.OnEnd(stats);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_prefix_expected_tokens_total 40\n"));
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_prefix_cached_tokens_total 30\n"));
  stats.ttft_seconds = 1;
  stats.usage.cached_tokens = -1000;
  router_metrics.OnEnd(stats);
  stats.usage.cached_tokens = 1000;
  router_metrics.OnEnd(stats);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_prefix_cached_tokens_total 130\n"));
}

TEST(RouterMetricsTest, WaitsAreCountedByOutcome) {
  Metrics metrics;
  RouterMetrics router_metrics(&metrics);
  RelayStats stats;
  stats.waits.Add(WaitOutcome::kResumed);
  stats.waits.Add(WaitOutcome::kResumed);
  stats.waits.Add(WaitOutcome::kExpired);
  router_metrics.OnEnd(stats);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_waits_total{outcome=\"resumed\"} 2\n"));
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_waits_total{outcome=\"expired\"} 1\n"));
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_waits_total{outcome=\"refused\"} 0\n"));
}

TEST(RouterMetricsTest, MigrationsAreCountedByReason) {
  Metrics metrics;
  RouterMetrics router_metrics(&metrics);
  EXPECT_THAT(metrics.Serialize(),
              HasSubstr("skv_router_migrations_total{reason=\"drained\"} 0\n"));
  RelayStats stats;
  stats.migrations.Add(MigrationReason::kLost);
  stats.migrations.Add(MigrationReason::kLost);
  stats.migrations.Add(MigrationReason::kStalled);
  router_metrics.OnEnd(stats);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_router_migrations_total{reason=\"lost\"} 2\n"));
  EXPECT_THAT(metrics.Serialize(),
              HasSubstr("skv_router_migrations_total{reason=\"stalled\"} 1\n"));
}

TEST(RouterMetricsTest, TheIndexOfPrefixesShowsItsSizeAndItsCap) {
  FakeClock clock;
  FakeGroups groups;
  absl::StatusOr<std::vector<std::string>> list = std::vector<std::string>{};
  const auto prefixes = std::make_shared<PrefixIndex>(2);
  Membership membership({}, std::make_unique<FakeWorkerSource>(&list), groups.factory(),
                        FindPolicy("prefix_aware", prefixes).value(), &clock, prefixes);
  Router router(
      {}, &membership, &clock, [] { return 1; }, [](const RelayStats&) {});
  Metrics metrics;
  RouterMetrics router_metrics(&metrics);
  router_metrics.Watch(&router, &membership);
  const CacheId cache = 5;
  prefixes->SetCaches({&cache, 1});
  PrefixKey parent = RootKey({.model_name = "any"});
  for (TokenId token = 0; token < 5; ++token) {
    parent = ChildKey(parent, {&token, 1});
    prefixes->Add(cache, {&parent, 1});
  }
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("skv_router_prefix_index_keys 2\n"));
  EXPECT_THAT(text, HasSubstr("skv_router_prefix_index_max_keys 2\n"));
  EXPECT_THAT(text, HasSubstr("skv_router_prefix_index_evicted_keys_total 3\n"));
}

}  // namespace
}  // namespace skv::router
