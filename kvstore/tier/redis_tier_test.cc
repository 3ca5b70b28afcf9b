#include "kvstore/tier/redis_tier.h"

#include <fstream>

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/tier/guarded_tier.h"
#include "kvstore/tier/testing/redis_process.h"
#include "kvstore/tier/testing/scripted_peer.h"
#include "kvstore/tier/testing/test_blocks.h"
#include "kvstore/tier/tier_key.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

std::unique_ptr<Tier> Open(const RedisTierOptions& options) {
  return OpenHiredisTier(options).value();
}

double SecondsOf(const std::function<void()>& call) {
  const TimePoint start = RealClock().Now();
  call();
  return ToSeconds(RealClock().Now() - start);
}

// Stores of the version before may use the same server.
TEST(RedisTierTest, BlocksStandUnderTheirVersion) {
  const std::string name = RedisKey(TestKey(1));
  EXPECT_EQ(name.substr(0, 6), "skv:2:");
  EXPECT_EQ(name.size(), 6 + kTierKeyBytes);
}

TEST(RedisTierTest, ServerThatDiesIsUnavailableAndBackAfterIt) {
  TestFolder folder;
  RedisProcess server(folder.path());
  FakeClock clock;
  GuardedTier tier(Open({.address = server.address()}), clock);
  ASSERT_OK(PutOne(tier, 1, 100'000));
  server.Kill();
  EXPECT_THAT(GetOne(tier, 1), StatusIs(StatusCode::kUnavailable, HasSubstr("redis tier")));
  server.Start();
  EXPECT_THAT(GetOne(tier, 1), StatusIs(StatusCode::kUnavailable, HasSubstr("is off")));
  clock.Advance(seconds(1));
  EXPECT_THAT(GetOne(tier, 1), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  ASSERT_OK(PutOne(tier, 1, 100'000));
  EXPECT_TRUE(IsTestBlock(GetOne(tier, 1), 1, 100'000));
}

TEST(RedisTierTest, RestartBetweenCallsIsNotNoticed) {
  TestFolder folder;
  RedisProcess server(folder.path());
  const auto tier = Open({.address = server.address()});
  ASSERT_OK(PutOne(*tier, 1, 1000));
  server.Kill();
  server.Start();
  EXPECT_THAT(GetOne(*tier, 1), StatusIs(StatusCode::kNotFound, HasSubstr("")));
}

TEST(RedisTierTest, ServerThatHangsIsUnavailableWithinTheTimeout) {
  TestFolder folder;
  RedisProcess server(folder.path());
  const auto tier = Open({.address = server.address(), .timeout = milliseconds(200)});
  ASSERT_OK(PutOne(*tier, 1, 1000));
  server.Stop();
  const auto unavailable = StatusIs(StatusCode::kUnavailable, HasSubstr("no answer in time"));
  EXPECT_LT(SecondsOf([&] { EXPECT_THAT(GetOne(*tier, 1), unavailable); }), 2);
  EXPECT_LT(SecondsOf([&] { EXPECT_THAT(PutOne(*tier, 2, 50'000'000), unavailable); }), 2);
  const TimePoint at_once = RealClock().Now() + milliseconds(10);
  EXPECT_LT(SecondsOf([&] { EXPECT_THAT(GetOne(*tier, 1, at_once), unavailable); }), 0.15);
  EXPECT_FALSE(tier->gauges().is_on);
  EXPECT_EQ(tier->gauges().num_failures, 3u);
  server.Continue();
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, 1000));
  EXPECT_TRUE(tier->gauges().is_on);
}

TEST(RedisTierTest, FullServerThatMayNotEvictTakesNoMore) {
  TestFolder folder;
  RedisProcess server(folder.path(), {"--maxmemory", "8mb", "--maxmemory-policy", "noeviction"});
  const auto tier = Open({.address = server.address()});
  absl::Status status;
  uint64_t number = 0;
  while (status.ok() && number < 100) status = PutOne(*tier, ++number, 500'000);
  EXPECT_THAT(status, StatusIs(StatusCode::kResourceExhausted, HasSubstr("allkeys-lru")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, 500'000));
  EXPECT_TRUE(tier->gauges().is_on);
}

TEST(RedisTierTest, FullServerEvictsByItsPolicy) {
  TestFolder folder;
  RedisProcess server(folder.path(), {"--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"});
  const auto tier = Open({.address = server.address()});
  for (uint64_t i = 0; i < 100; ++i) ASSERT_OK(PutOne(*tier, i, 500'000));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 99), 99, 500'000));
  int num_found = 0;
  for (uint64_t i = 0; i < 100; ++i) num_found += GetOne(*tier, i).ok() ? 1 : 0;
  EXPECT_GE(num_found, 3);
  EXPECT_LE(num_found, 16);
}

TEST(RedisTierTest, PasswordAndDatabase) {
  TestFolder folder;
  RedisProcess server(folder.path(), {"--requirepass", "sesame"});
  const auto stranger = Open({.address = server.address()});
  EXPECT_THAT(PutOne(*stranger, 1, 10), StatusIs(StatusCode::kUnavailable, HasSubstr("password")));
  const std::string file = folder.path() + "/password";
  std::ofstream(file) << "open sesame\n";
  const auto wrong = Open({.address = server.address(), .password_file = file});
  EXPECT_THAT(PutOne(*wrong, 1, 10), StatusIs(StatusCode::kUnavailable, HasSubstr("password")));
  std::ofstream(file) << "sesame\n";
  const auto tier = Open({.address = server.address(), .password_file = file, .database = 3});
  ASSERT_OK(PutOne(*tier, 1, 10));
  const auto other = Open(
      {.address = server.address(), .username = "default", .password_file = file, .database = 4});
  EXPECT_THAT(GetOne(*other, 1), StatusIs(StatusCode::kNotFound, HasSubstr("")));
  EXPECT_TRUE(IsTestBlock(GetOne(*tier, 1), 1, 10));
  const auto none = Open({.address = server.address(), .password_file = file, .database = 4711});
  EXPECT_THAT(GetOne(*none, 1), StatusIs(StatusCode::kUnavailable, HasSubstr("out of range")));
}

TEST(RedisTierTest, OptionsAreChecked) {
  for (const char* address : {"", "host", "host:", "host:0", "host:65536", "host:99999999999",
                              ":6379", "a:b:1", "[::1]", "unix://", "unix://relative"}) {
    EXPECT_THAT(OpenHiredisTier({.address = address}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("expected host:port")))
        << address;
  }
  EXPECT_THAT(OpenHiredisTier({.address = "unix:///" + std::string(107, 'a')}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("107")));
  EXPECT_OK(OpenHiredisTier({.address = "[::1]:6379"}));
  EXPECT_THAT(OpenHiredisTier({.address = "h:1", .password_file = "/nonexistent"}),
              StatusIs(StatusCode::kNotFound, HasSubstr("/nonexistent")));
  EXPECT_THAT(OpenHiredisTier({.address = "h:1", .database = -1}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("database")));
  EXPECT_THAT(OpenHiredisTier({.address = "h:1", .timeout = Duration()}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("time-out")));
}

TEST(RedisTierTest, NobodyListens) {
  const auto tier = Open({.address = "unix:///tmp/skv_nobody_listens_here"});
  EXPECT_THAT(GetOne(*tier, 1), StatusIs(StatusCode::kUnavailable, HasSubstr("No such file")));
  const auto refused = Open({.address = "127.0.0.1:1"});
  EXPECT_THAT(GetOne(*refused, 1), StatusIs(StatusCode::kUnavailable, HasSubstr("refused")));
}

struct HostileCase {
  const char* name;
  std::string answer;
  const char* message;
};

class HostilePeerTest : public testing::TestWithParam<HostileCase> {};

TEST_P(HostilePeerTest, IsUnavailable) {
  TestFolder folder;
  for (const size_t piece_bytes : {size_t{1} << 20, size_t{3}}) {
    const ScriptedPeer peer(
        folder.path(), {.answer = GetParam().answer, .piece_bytes = piece_bytes, .closes = true});
    const auto tier = Open({.address = peer.address()});
    EXPECT_THAT(GetOne(*tier, 1),
                StatusIs(StatusCode::kUnavailable, HasSubstr(GetParam().message)));
    EXPECT_FALSE(tier->gauges().is_on);
  }
}

const HostileCase kHostileCases[] = {
    {"Silence", "", "closed the connection"},
    {"Integer", ":1\r\n", "an integer, expected a string"},
    {"Status", "+OK\r\n", "a status, expected a string"},
    {"Array", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "cannot read"},
    {"EmptyArray", "*0\r\n", "cannot read"},
    {"ArrayOfManyElements", "*2147483647\r\n", "cannot read"},
    {"NestedArrays", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "cannot read"},
    {"UnknownType", "HTTP/1.1 400 Bad Request\r\n\r\n", "is it a Redis?"},
    {"CutOff", "$100\r\nabc", "closed the connection"},
    {"NegativeLength", "$-2\r\n", "cannot read"},
    {"LengthIsNoNumber", "$12x\r\n", "cannot read"},
    {"LengthOverflows", "$99999999999999999999\r\n", ""},
    {"LengthTooLarge", "$1073741825\r\nabc", "at most 1073741824"},
    {"LengthWithoutEnd", "$" + std::string(100, '0'), "has no end"},
    {"LineWithoutEnd", "+" + std::string(100'000, 'a'), "is a line of more than 65536"},
    {"ControlCharacters", "-ERR \x1b[2J\x01\x7f bad\r\n", "ERR \\x1b[2J\\x01\\x7f bad"},
    {"Loading", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING"},
    {"ReadOnly", "-READONLY You can't write against a read only replica.\r\n", "READONLY"},
    {"Moved", "-MOVED 3999 10.0.0.1:6381\r\n", "MOVED"},
    {"EmptyError", "-\r\n", "the server answers"},
    {"MoreThanWasAsked", "$-1\r\n$3\r\nabc\r\n", "was not asked"}};

INSTANTIATE_TEST_SUITE_P(Cases, HostilePeerTest, testing::ValuesIn(kHostileCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(RedisTierTest, NullArrayAndOtherTypesAreMisses) {
  TestFolder folder;
  for (const char* answer : {"*-1\r\n", "$-1\r\n", "-WRONGTYPE Operation against a key\r\n"}) {
    for (const size_t piece_bytes : {size_t{100}, size_t{1}}) {
      const ScriptedPeer peer(
          folder.path(), {.answer = answer, .piece_bytes = piece_bytes, .pause = milliseconds(2)});
      const auto tier = Open({.address = peer.address()});
      EXPECT_THAT(GetOne(*tier, 1), StatusIs(StatusCode::kNotFound, HasSubstr(""))) << answer;
    }
  }
}

TEST(RedisTierTest, PutBelievesOnlyOk) {
  TestFolder folder;
  for (const char* answer : {"+QUEUED\r\n", ":1\r\n", "$2\r\nOK\r\n", "$-1\r\n"}) {
    const ScriptedPeer peer(folder.path(), {.answer = answer});
    const auto tier = Open({.address = peer.address()});
    EXPECT_THAT(PutOne(*tier, 1, 10), StatusIs(StatusCode::kUnavailable, HasSubstr("expected OK")))
        << answer;
    EXPECT_EQ(tier->gauges().num_written_blocks, 0u);
  }
}

TEST(RedisTierTest, TricklingServerMeetsTheDeadline) {
  TestFolder folder;
  const ScriptedPeer peer(folder.path(), {.answer = "$1000000\r\n" + std::string(1000, 'a'),
                                          .piece_bytes = 1,
                                          .pause = milliseconds(5)});
  const auto tier = Open({.address = peer.address()});
  const double seconds = SecondsOf([&] {
    EXPECT_THAT(GetOne(*tier, 1, RealClock().Now() + milliseconds(300)),
                StatusIs(StatusCode::kUnavailable, HasSubstr("no answer in time")));
  });
  EXPECT_GE(seconds, 0.29);
  EXPECT_LT(seconds, 2);
}

TEST(RedisTierTest, FloodOfRepliesIsCutOff) {
  TestFolder folder;
  const ScriptedPeer peer(folder.path(), {.answer = "$-1\r\n", .num_repeats = 1'000'000});
  const auto tier = Open({.address = peer.address()});
  // The first reply may come alone; not so what is left for the next call.
  absl::Status status = GetOne(*tier, 1).status();
  EXPECT_TRUE(absl::IsNotFound(status) || absl::IsUnavailable(status)) << status;
  for (int i = 0; i < 3; ++i) {
    status = GetOne(*tier, 1).status();
    EXPECT_TRUE(absl::IsNotFound(status) || absl::IsUnavailable(status)) << status;
  }
}

}  // namespace
}  // namespace skv::kvstore
