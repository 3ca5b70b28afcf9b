// What a router learns from its own requests of where prompts are cached.

#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "router/router.h"
#include "router/testing/fake_group_client.h"
#include "router/testing/outstanding.h"

namespace skv::router {
namespace {

class NullClient : public ClientStream {
 public:
  bool Write(Event) override { return true; }
  void Finish(absl::Status) override {}
};

// Groups a:1 and b:2. Documents have 4 sentences of 20 tokens, a question comes behind them.
class RelayPrefixTest : public testing::Test {
 protected:
  void SetUp() override {
    clock_.Advance(std::chrono::seconds(100));
    membership_ = std::make_unique<Membership>(
        MembershipOptions{}, MakeStaticWorkerSource({"a:1", "b:2"}).value(), groups_.factory(),
        FindPolicy("prefix_aware", prefixes_).value(), &clock_, prefixes_);
    Settle();
    router_ = std::make_unique<Router>(
        RouterOptions{}, membership_.get(), &clock_, [this] { return ++draws_; },
        [this](const RelayStats& stats) { stats_.push_back(stats); });
  }
  void TearDown() override {
    for (const auto& relay : relays_) relay->Cancel(absl::CancelledError("the test is over"));
  }
  void Settle() {
    for (int i = 0; i < 4; ++i) membership_->Tick();
  }

  static std::string Document(char name) {
    return std::string(18, name) + ". " + std::string(18, name) + ". " + std::string(18, name) +
           ". " + std::string(18, name) + ". ";
  }
  // Returns the stream that it opened.
  FakeGroupStream& Ask(const std::string& prompt, std::optional<std::string> salt = {}) {
    const size_t before[] = {groups_["a:1"].streams.size(), groups_["b:2"].streams.size()};
    Request request;
    request.prompt = TextPrompt{prompt};
    request.max_tokens = 10;
    request.cache_salt = std::move(salt);
    auto relay = router_->Generate(std::move(request), Deadline::max(), clock_.Now(),
                                   router_->Enter().value(), std::make_shared<NullClient>());
    EXPECT_OK(relay);
    relays_.push_back(*relay);
    const bool at_a = groups_["a:1"].streams.size() > before[0];
    picked_ = at_a ? "a:1" : "b:2";
    return *groups_[picked_].streams.back();
  }
  static void Answer(FakeGroupStream& stream) {
    stream.Send("x");
    stream.SendFinish(FinishReason::kStop);
  }
  // The group that a question on the document goes to where only caches decide; "" for any.
  std::string Home(const std::string& document) {
    std::string home;
    for (int i = 0; i < 2; ++i) {
      FakeGroupStream& stream = Ask(document + "Whose?");
      stream.handler->OnDone(absl::InvalidArgumentError("only asked where it goes"));
      if (i == 1 && home != picked_) return "";
      home = picked_;
    }
    return home;
  }
  int64_t Outstanding(const std::string& address) const {
    return OutstandingAt(*membership_, address);
  }

  FakeClock clock_;
  FakeGroups groups_;
  uint64_t draws_ = 0;
  std::vector<RelayStats> stats_;
  std::string picked_;
  std::shared_ptr<PrefixIndex> prefixes_ = std::make_shared<PrefixIndex>(1000);
  std::unique_ptr<Membership> membership_;
  std::unique_ptr<Router> router_;
  std::vector<std::shared_ptr<Relay>> relays_;
};

TEST_F(RelayPrefixTest, QuestionsOnADocumentGoWhereItWasReadBefore) {
  for (const char name : {'d', 'e', 'f', 'g'}) {
    Answer(Ask(Document(name) + "Who?"));
    EXPECT_EQ(Home(Document(name)), picked_);
  }
  EXPECT_EQ(Home(Document('h')), "");
}

TEST_F(RelayPrefixTest, TheExpectationIsToldAndOnlyTheRestIsCharged) {
  Answer(Ask(Document('d') + "Who?"));
  EXPECT_EQ(stats_.back().expected_cached_tokens, 0);
  FakeGroupStream& second = Ask(Document('d') + "Whose?");
  const int64_t prompt_tokens = static_cast<int64_t>(second.request.prompt_ids.size());
  const int64_t left = Outstanding(picked_) - 10;
  EXPECT_LE(left, prompt_tokens - 60);
  second.Send("x");
  EXPECT_EQ(Outstanding(picked_), 9);
  second.SendFinish(FinishReason::kStop);
  EXPECT_EQ(Outstanding(picked_), 0);
  EXPECT_EQ(stats_.back().expected_cached_tokens, prompt_tokens - left);
}

TEST_F(RelayPrefixTest, ASecondQuestionFollowsTheFirstBeforeThatIsAnswered) {
  FakeGroupStream& first = Ask(Document('d') + "Who?");
  const std::string home = picked_;
  Ask(Document('d') + "Whose?");
  EXPECT_EQ(picked_, home);
  Ask(Document('e') + "Who?");
  EXPECT_NE(picked_, home);
  Answer(first);
}

TEST_F(RelayPrefixTest, TenantsDoNotSeeWhereOthersPromptsAre) {
  Answer(Ask(Document('d') + "Who?", "tenant 1"));
  EXPECT_EQ(Home(Document('d')), "");
  Ask(Document('d') + "Whose?", "tenant 1");
  EXPECT_GT(Outstanding("a:1") + Outstanding("b:2"), 0);
}

TEST_F(RelayPrefixTest, APromptThatWasNeverComputedIsNotExpected) {
  for (const absl::Status& end :
       {absl::InvalidArgumentError("no"), absl::ResourceExhaustedError("queue full")}) {
    SCOPED_TRACE(end.ToString());
    FakeGroupStream& first = Ask(Document('d') + "Who?");
    first.handler->OnDone(end);
    relays_.back()->Cancel(absl::CancelledError("given up"));
    EXPECT_EQ(Home(Document('d')), "");
  }
}

TEST_F(RelayPrefixTest, AFailureLeavesWhatWasThereBefore) {
  Answer(Ask(Document('d') + "Who?"));
  const std::string home = picked_;
  Ask(Document('d') + "Whose?").handler->OnDone(absl::InvalidArgumentError("no"));
  EXPECT_EQ(Home(Document('d')), home);
}

// As a store's Watch does, while the request is under way.
TEST_F(RelayPrefixTest, AFailureLeavesWhatTheStoreToldMeanwhile) {
  FakeGroupStream& first = Ask(Document('d') + "Who?");
  const std::string home = picked_;
  const auto cluster = membership_->snapshot();
  const auto group = std::ranges::find_if(
      cluster->groups, [&](const auto& entry) { return entry.second.group->address() == home; });
  const std::vector<TokenId> ids = first.request.prompt_ids;
  const PrefixChain chain =
      cluster->models.at("tiny").served->PrefixOf({.prompt_ids = ids, .kv_policy = {"full"}});
  ASSERT_FALSE(chain.keys.empty());
  prefixes_->Add(group->second.cache_id, chain.keys);
  first.handler->OnDone(absl::InvalidArgumentError("no"));
  EXPECT_EQ(Home(Document('d')), home);
}

TEST_F(RelayPrefixTest, AFailureLeavesWhatAnotherRequestHasComputedMeanwhile) {
  Ask(Document('d') + "Who?");
  const std::string home = picked_;
  const auto first = relays_.back();
  FakeGroupStream& second = Ask(Document('d') + "Who?");
  ASSERT_EQ(picked_, home);
  Answer(second);
  first->Cancel(absl::CancelledError("the client went away"));
  EXPECT_EQ(Home(Document('d')), home);
}

TEST_F(RelayPrefixTest, ARestartedGroupHasNothing) {
  Answer(Ask(Document('d') + "Who?"));
  groups_[picked_].probe = ProbeResult{.serving = true, .load = {.epoch = 2}};
  clock_.Advance(std::chrono::seconds(1));
  Settle();
  EXPECT_EQ(membership_->snapshot()->num_healthy_groups(), 2);
  EXPECT_EQ(Home(Document('d')), "");
}

}  // namespace
}  // namespace skv::router
