#include "worker/server/prefix_metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::server {
namespace {

using testing::HasSubstr;

TEST(PrefixMetricsTest, EveryNumberHasItsNameAndIsReadAtEachScrape) {
  engine::PrefixStats stats;
  Metrics metrics;
  AddPrefixMetrics([&] { return stats; }, &metrics);
  AddVllmPrefixMetrics([&] { return stats; }, {{"engine", "0"}}, &metrics);
  EXPECT_THAT(metrics.Serialize(), HasSubstr("\nskv_worker_prefix_cache_hit_tokens_total 0\n"));
  stats = {.looked_up_tokens = 1,
           .hit_tokens = 2,
           .waits = 3,
           .stored_blocks = 4,
           .private_blocks = 5,
           .num_failures = 6,
           .num_corrupt_blocks = 7,
           .num_verified_blocks = 12,
           .num_different_blocks = 11,
           .num_held = 8,
           .is_shared = true,
           .num_leases = 9,
           .mapped_bytes = 10};
  const std::string text = metrics.Serialize();
  for (const char* line :
       {"skv_worker_prefix_cache_queried_tokens_total 1",
        "skv_worker_prefix_cache_hit_tokens_total 2", "skv_worker_prefix_cache_waits_total 3",
        "skv_worker_prefix_cache_stored_blocks_total 4",
        "skv_worker_prefix_cache_private_blocks_total 5",
        "skv_worker_prefix_cache_failures_total 6",
        "skv_worker_prefix_cache_corrupt_blocks_total 7",
        "skv_worker_prefix_cache_verified_blocks_total 12",
        "skv_worker_prefix_cache_different_blocks_total 11",
        "skv_worker_prefix_cache_requests_held 8", "skv_worker_prefix_cache_shared 1",
        "skv_worker_prefix_cache_leases 9", "skv_worker_prefix_cache_mapped_bytes 10",
        "vllm:prefix_cache_queries_total{engine=\"0\"} 1",
        "vllm:prefix_cache_hits_total{engine=\"0\"} 2"}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + line + "\n"));
  }
}

}  // namespace
}  // namespace skv::server
