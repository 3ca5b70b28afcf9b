#include "router/sample_stream.h"

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/testing/fake_group_client.h"

namespace skv::router {
namespace {

class SampleStreamTest : public testing::Test {
 protected:
  SampleStream Create(const std::vector<std::string>& stops) {
    return SampleStream(model_.get(), text::StopSet::Create(stops).value());
  }
  static GroupEvent Bytes(std::string_view text) {
    GroupEvent event;
    for (const char c : text) event.tokens.push_back({.id = static_cast<unsigned char>(c)});
    return event;
  }

  const std::shared_ptr<const ServedModel> model_ = ServedModel::Create(TinyModel()).value();
};

TEST_F(SampleStreamTest, HalfACharacterWaitsForItsOtherHalf) {
  SampleStream sample = Create({});
  Event first, second;
  ASSERT_OK(sample.Apply(Bytes("a\xc3"), &first));
  EXPECT_EQ(first.text, "a");
  EXPECT_EQ(first.tokens.size(), 2u);
  EXPECT_EQ(first.tokens[1].piece, "\xc3");
  ASSERT_OK(sample.Apply(Bytes("\xa9"), &second));
  EXPECT_EQ(second.text, "\xc3\xa9");
}

TEST_F(SampleStreamTest, AnUnfinishedCharacterEndsAsReplacement) {
  SampleStream sample = Create({});
  GroupEvent event = Bytes("a\xc3");
  event.finish = GroupFinish{FinishReason::kLength, ""};
  Event out;
  ASSERT_OK(sample.Apply(event, &out));
  EXPECT_EQ(out.text, "a\xef\xbf\xbd");
  EXPECT_EQ(out.finish->reason, FinishReason::kLength);
  EXPECT_EQ(out.finish->stop_token_id, std::nullopt);
}

TEST_F(SampleStreamTest, TheReportOfTheKvPolicyComesWithTheGroupsFinish) {
  GroupEvent event = Bytes("a");
  event.finish = GroupFinish{FinishReason::kLength, ""};
  event.kv_report = KvReport{.generated_positions = 7};
  SampleStream sample = Create({}), stopped = Create({"a"});
  Event out, stopped_out;
  ASSERT_OK(sample.Apply(event, &out));
  EXPECT_EQ(out.kv_report->generated_positions, 7);
  ASSERT_OK(stopped.Apply(event, &stopped_out));
  EXPECT_FALSE(stopped_out.kv_report.has_value());
}

TEST_F(SampleStreamTest, ExplanationsGetTheTextOfThePrompt) {
  const auto prompt = std::make_shared<text::TokenText>(
      model_->tokenizer(), std::vector<TokenId>{text::kTinyImStart, 'H', 'i', '.', 0xc3});
  SampleStream sample(model_.get(), text::StopSet::Create({"!"}).value(), prompt);
  GroupEvent event = Bytes("ab");
  event.explanations = {{0, 2, {{1, 4, 0.5, 0.25}, {4, 5, 0.125, 0}}}};
  Event out;
  ASSERT_OK(sample.Apply(event, &out));
  ASSERT_EQ(out.explanations.size(), 1u);
  EXPECT_EQ(out.explanations[0].token_end, 2);
  ASSERT_EQ(out.explanations[0].reads.size(), 2u);
  const EventSentenceRead& first = out.explanations[0].reads[0];
  EXPECT_EQ(first.read.token_begin, 1);
  EXPECT_EQ(first.read.score, 0.5);
  EXPECT_EQ(first.read.heads_share, 0.25);
  EXPECT_EQ(first.bytes, (text::ByteRange{12, 15}));
  EXPECT_EQ(first.text, "Hi.");
  EXPECT_EQ(out.explanations[0].reads[1].text, "\xef\xbf\xbd");

  Event stopped;
  event = Bytes("!");
  event.explanations = {{2, 3, {}}};
  ASSERT_OK(sample.Apply(event, &stopped));
  EXPECT_TRUE(stopped.explanations.empty());
}

TEST_F(SampleStreamTest, AnExplanationOfWhatIsNotThereIsTheWorkersFault) {
  const auto prompt =
      std::make_shared<text::TokenText>(model_->tokenizer(), std::vector<TokenId>{'a', 'b', 'c'});
  const Explanation kBad[] = {{0, 3, {}},
                              {1, 1, {}},
                              {-1, 1, {}},
                              {0, 1, {{0, 4, 1, 1}}},
                              {0, 1, {{2, 2, 1, 1}}},
                              {0, 1, {{-1, 2, 1, 1}}}};
  for (const Explanation& bad : kBad) {
    SampleStream sample(model_.get(), text::StopSet::Create({}).value(), prompt);
    GroupEvent event = Bytes("ab");
    event.explanations = {bad};
    Event out;
    EXPECT_THAT(sample.Apply(event, &out),
                StatusIs(absl::StatusCode::kInternal, testing::HasSubstr("worker explained")));
  }
  SampleStream unasked = Create({});
  GroupEvent event = Bytes("ab");
  event.explanations = {{0, 1, {{0, 1, 1, 1}}}};
  Event out;
  EXPECT_THAT(unasked.Apply(event, &out),
              StatusIs(absl::StatusCode::kInternal, testing::HasSubstr("explained")));
}

TEST_F(SampleStreamTest, AStopStringEndsTheSampleAcrossEventsAndIsNotShown) {
  SampleStream sample = Create({"xyz", "END"});
  Event first, second, third;
  ASSERT_OK(sample.Apply(Bytes("one E"), &first));
  EXPECT_EQ(first.text, "one ");
  EXPECT_EQ(first.finish, std::nullopt);
  ASSERT_OK(sample.Apply(Bytes("ND two"), &second));
  EXPECT_EQ(second.text, "");
  EXPECT_EQ(second.tokens.size(), 2u);
  EXPECT_EQ(second.finish->reason, FinishReason::kStop);
  EXPECT_EQ(second.finish->stop_string, "END");
  EXPECT_TRUE(sample.stopped_here());
  ASSERT_OK(sample.Apply(Bytes("more"), &third));
  EXPECT_TRUE(third.tokens.empty());
  EXPECT_EQ(sample.num_tokens(), 7);
}

TEST_F(SampleStreamTest, WhatOnlyLookedLikeAStopStringIsShownAtTheEnd) {
  SampleStream sample = Create({"END"});
  GroupEvent event = Bytes("EN");
  event.finish = GroupFinish{FinishReason::kLength, ""};
  Event out;
  ASSERT_OK(sample.Apply(event, &out));
  EXPECT_EQ(out.text, "EN");
  EXPECT_FALSE(sample.stopped_here());
}

TEST_F(SampleStreamTest, TheEndTokenIsReportedButHasNoText) {
  SampleStream sample = Create({});
  GroupEvent event = Bytes("a");
  event.tokens.push_back({.id = text::kTinyImEnd, .logprob = -0.5f, .top_logprobs = {{'b', -1.f}}});
  event.finish = GroupFinish{FinishReason::kStop, ""};
  Event out;
  ASSERT_OK(sample.Apply(event, &out));
  EXPECT_EQ(out.text, "a");
  EXPECT_EQ(out.tokens[1].piece, "");
  EXPECT_EQ(out.tokens[1].logprob, -0.5f);
  EXPECT_EQ(out.tokens[1].top_logprobs[0].piece, "b");
  EXPECT_EQ(out.finish->stop_token_id, text::kTinyImEnd);
}

TEST_F(SampleStreamTest, TheEndTokenIsNamedAlsoByAFinishThatComesAlone) {
  SampleStream sample = Create({});
  Event first, second;
  ASSERT_OK(sample.Apply({.tokens = {{.id = 'a'}, {.id = text::kTinyImEnd}}}, &first));
  ASSERT_OK(sample.Apply({.finish = GroupFinish{FinishReason::kStop, ""}}, &second));
  EXPECT_EQ(second.finish->stop_token_id, text::kTinyImEnd);
  EXPECT_EQ(second.finish->stop_string, std::nullopt);
}

TEST_F(SampleStreamTest, NoTokenIsNamedWhereNoneEndedTheSample) {
  SampleStream sample = Create({});
  Event first, second;
  ASSERT_OK(sample.Apply(Bytes("ab"), &first));
  ASSERT_OK(sample.Apply({.finish = GroupFinish{FinishReason::kLength, ""}}, &second));
  EXPECT_EQ(second.finish->stop_token_id, std::nullopt);
}

TEST_F(SampleStreamTest, TheSamplesOfARequestShareItsStopStrings) {
  const auto stops = text::StopSet::Create({"END", "STOP"}).value();
  const long num_owners = stops.use_count();
  const std::vector<SampleStream> samples(128, SampleStream(model_.get(), stops));
  EXPECT_EQ(stops.use_count(), num_owners + 256);  // the sample and its matcher
}

TEST_F(SampleStreamTest, ATokenOutsideTheVocabularyIsTheWorkersFault) {
  for (const TokenId id : {-1, 260, 1 << 30}) {
    SampleStream sample = Create({});
    Event out;
    EXPECT_THAT(sample.Apply({.tokens = {{.id = id}}}, &out),
                StatusIs(absl::StatusCode::kInternal, testing::HasSubstr(std::to_string(id))));
  }
}

}  // namespace
}  // namespace skv::router
