#include "bench/corrupt/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skv::corrupt {
namespace {

using ::testing::HasSubstr;

TEST(CommandsTest, WrongRequestsAreRefused) {
  Commands commands(1);
  for (const auto& [line, problem] : {
           std::pair("", "request: "),
           std::pair("{\"cmd\": 3}", "request: "),
           std::pair("{\"cmd\": \"fly\"}", "cmd: \"fly\", expected write"),
           std::pair("{\"cmd\": \"write\", \"socket\": \"/nowhere\"}", "nowhere"),
           std::pair("{\"cmd\": \"compare\", \"place\": \"arena\", \"first\": 0, \"count\": 1}",
                     "place: \"arena\", expected nvme, redis, or, after a write, arena"),
       }) {
    const auto answer = commands.Answer(line);
    ASSERT_FALSE(answer.ok()) << line;
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr(problem));
  }
}

}  // namespace
}  // namespace skv::corrupt
