#include "common/metrics.h"

#include <unistd.h>

#include "gmock/gmock.h"

namespace skv {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, SeriesCarryTheirOwnAndTheCommonLabels) {
  Metrics metrics(MetricLabels{{"rank", "1"}});
  metrics.AddCounter("skv_test_steps_total", "Steps run.").Increment(3);
  metrics.AddCounter("skv_test_steps_total", "Steps run.", {{"kind", "mixed"}}).Increment();
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("# HELP skv_test_steps_total Steps run.\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE skv_test_steps_total counter\n"));
  EXPECT_THAT(text, HasSubstr("skv_test_steps_total{rank=\"1\"} 3"));
  EXPECT_THAT(text, HasSubstr("skv_test_steps_total{kind=\"mixed\",rank=\"1\"} 1"));
}

TEST(MetricsTest, GaugesAreReadAtEachScrape) {
  Metrics metrics;
  double running = 2;
  metrics.AddGauge("skv_test_running", "Running.", {}, [&] { return running; });
  metrics.AddCounterFrom("skv_test_bytes_total", "Bytes.", {{"tier", "disk"}}, [] { return 7; });
  EXPECT_THAT(metrics.Serialize(), HasSubstr("skv_test_running 2\n"));
  running = 0;
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("# TYPE skv_test_running gauge\nskv_test_running 0\n"));
  EXPECT_THAT(text, HasSubstr("skv_test_bytes_total{tier=\"disk\"} 7\n"));
}

TEST(MetricsTest, SeriesMayComeAndGo) {
  Metrics metrics(MetricLabels{{"role", "router"}});
  std::vector<Metrics::Sample> samples = {{{{"address", "a:1"}}, 1}, {{{"address", "b:2"}}, 2}};
  metrics.AddGauge("skv_test_tokens", "Tokens.", [&] { return samples; });
  EXPECT_THAT(metrics.Serialize(),
              HasSubstr("# TYPE skv_test_tokens gauge\n"
                        "skv_test_tokens{address=\"a:1\",role=\"router\"} 1\n"
                        "skv_test_tokens{address=\"b:2\",role=\"router\"} 2\n"));
  samples.clear();
  EXPECT_THAT(metrics.Serialize(), testing::Not(HasSubstr("skv_test_tokens{")));
}

TEST(MetricsTest, HistogramsCountPerBucket) {
  Metrics metrics;
  prometheus::Histogram& wait = metrics.AddHistogram("skv_test_wait_seconds", "Wait.", {0.1, 1});
  for (const double seconds : {0.05, 0.5, 5.0}) wait.Observe(seconds);
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("skv_test_wait_seconds_bucket{le=\"0.1\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("skv_test_wait_seconds_bucket{le=\"1\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("skv_test_wait_seconds_count 3\n"));
}

TEST(MetricsTest, LatencyBucketsGrowFromOneMillisecondToAMinute) {
  const std::vector<double> buckets = LatencyBuckets();
  EXPECT_EQ(buckets.front(), 0.001);
  EXPECT_GT(buckets.back(), 60);
  for (size_t i = 1; i < buckets.size(); ++i) EXPECT_EQ(buckets[i], 2 * buckets[i - 1]);
}

TEST(MetricsDeathTest, NameWithoutOurPrefixIsABug) {
  Metrics metrics;
  EXPECT_DEATH(metrics.AddCounter("steps_total", "Steps."), "must begin with skv_");
}

TEST(MetricsTest, ProcessMetricsDescribeThisProcess) {
  Metrics metrics(MetricLabels{{"rank", "0"}});
  AddProcessMetrics(&metrics);
  const std::string text = metrics.Serialize();
  EXPECT_THAT(text, HasSubstr("skv_process_pid{rank=\"0\"} " + std::to_string(getpid()) + "\n"));
  for (const char* kind : {"anonymous", "file", "shmem"}) {
    EXPECT_THAT(text, HasSubstr("skv_process_resident_bytes{kind=\"" + std::string(kind) + "\""));
  }
  EXPECT_THAT(text,
              Not(HasSubstr("skv_process_resident_bytes{kind=\"anonymous\",rank=\"0\"} 0\n")));
  // Sanitizers add a thread of their own.
  EXPECT_THAT(text, testing::ContainsRegex("skv_process_threads\\{rank=\"0\"\\} [12]\n"));
  EXPECT_THAT(text, Not(HasSubstr("skv_process_open_fds{rank=\"0\"} 0\n")));
  EXPECT_THAT(text, HasSubstr("skv_build_info{rank=\"0\",version=\"0.1.0\"} 1\n"));
}

}  // namespace
}  // namespace skv
