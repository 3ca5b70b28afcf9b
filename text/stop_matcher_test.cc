#include "text/stop_matcher.h"

#include <string>
#include <vector>

#include "common/testing/status_matchers.h"

namespace skv::text {
namespace {

using testing::HasSubstr;

struct Outcome {
  std::string text;
  std::optional<size_t> matched;
  bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* os) {
  *os << '"' << outcome.text << "\" stop " << (outcome.matched ? int(*outcome.matched) : -1);
}

Outcome Match(std::vector<std::string> stops, std::string_view text, size_t piece_size) {
  StopMatcher matcher(StopSet::Create(std::move(stops)).value());
  Outcome outcome;
  for (size_t pos = 0; pos < text.size() && !outcome.matched; pos += piece_size) {
    const StopMatcher::Result result = matcher.Push(text.substr(pos, piece_size));
    outcome.text += result.text;
    outcome.matched = result.matched_stop;
  }
  outcome.text += matcher.Flush();
  return outcome;
}

TEST(StopMatcherTest, CutsTheTextBeforeTheStopThatEndsFirstHoweverTheTextIsCut) {
  const struct {
    const char* why;
    std::vector<std::string> stops;
    std::string_view text;
    Outcome expected;
  } kCases[] = {
      {"no stops", {}, "abc", {"abc", std::nullopt}},
      {"no match", {"xyz"}, "abcxy", {"abcxy", std::nullopt}},
      {"at the start", {"ab"}, "abc", {"", 0}},
      {"a failed start is shown", {"aab"}, "aaab!", {"a", 0}},
      {"overlapping restart", {"abac"}, "ababac", {"ab", 0}},
      {"the one that ends first", {"world", "lo"}, "hello world", {"hel", 1}},
      {"of those that end together the longest", {"b", "ab"}, "cab", {"c", 1}},
      {"a longer stop does not wait for its end", {"abcd", "b"}, "abcd", {"a", 1}},
      {"multi-byte", {"\xE4\xBD\xA0"}, "\xE4\xBD\xA1\xE4\xBD\xA0", {"\xE4\xBD\xA1", 0}},
  };
  for (const auto& c : kCases) {
    for (size_t piece_size = 1; piece_size <= 6; ++piece_size) {
      SCOPED_TRACE(testing::Message() << c.why << ", pieces of " << piece_size);
      EXPECT_EQ(Match(c.stops, c.text, piece_size), c.expected);
    }
  }
}

TEST(StopMatcherTest, ShowsTextAsSoonAsItCannotBecomeAStop) {
  StopMatcher matcher(StopSet::Create({"END", "\n\n"}).value());
  EXPECT_EQ(matcher.Push("one E").text, "one ");
  EXPECT_EQ(matcher.Push("N").text, "");
  EXPECT_EQ(matcher.Push("x\n").text, "ENx");
  EXPECT_EQ(matcher.Flush(), "\n");
}

TEST(StopMatcherTest, StaysEndedAfterAMatch) {
  StopMatcher matcher(StopSet::Create({"a"}).value());
  EXPECT_EQ(matcher.Push("xab").matched_stop, 0u);
  const StopMatcher::Result result = matcher.Push("more");
  EXPECT_EQ(result.matched_stop, 0u);
  EXPECT_EQ(result.text + matcher.Flush(), "");
}

TEST(StopMatcherTest, RefusesTooManyEmptyLongAndIllFormedStops) {
  const struct {
    std::vector<std::string> stops;
    const char* message;
  } kCases[] = {
      {std::vector<std::string>(1000, "x"), "1000 stop strings"},
      {{"a", ""}, "stop[1]"},
      {{std::string(StopSet::kMaxStopBytes + 1, 'x')}, "1025 bytes"},
      {{"a", "b", "\xFF"}, "stop[2]"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(StopSet::Create(c.stops),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::text
