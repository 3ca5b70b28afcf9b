#include "bench/corrupt/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

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

TEST(CommandsTest, EachLineHasAnAnswer) {
  std::istringstream in("{\"cmd\": \"fl\xff\"}\nread\n");
  std::ostringstream out;
  ServeCommands(1, in, out);
  std::istringstream answers(out.str());
  std::string line;
  int num_answers = 0;
  for (; std::getline(answers, line); ++num_answers) {
    const nlohmann::json answer = nlohmann::json::parse(line);
    EXPECT_EQ(answer["ok"], false);
    EXPECT_THAT(answer["error"].get<std::string>(), HasSubstr("request"));
  }
  EXPECT_EQ(num_answers, 2);
}

}  // namespace
}  // namespace skv::corrupt
