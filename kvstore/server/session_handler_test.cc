#include "kvstore/server/session_handler.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/sentences.h"
#include "kvstore/server/testing/session_handler_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using ClientId = SessionHandler::ClientId;

class SessionHandlerTest : public SessionHandlerFixture {
 protected:
  SessionHandlerTest() : SessionHandlerFixture(10) { CreateHandler(); }
};

TEST_F(SessionHandlerTest, AWelcomeTellsOfTheStoreAndPassesTheArena) {
  const ClientId id = handler_->Connect().value();
  const std::vector<Frame> heard = Say(id, {0, TestHello()});
  ASSERT_THAT(heard, SizeIs(1));
  const Welcome expected{.epoch = options_.epoch,
                         .arena_bytes = arena_.size(),
                         .max_leases = 20,
                         .max_requests = options_.max_requests};
  EXPECT_EQ(heard[0], (Frame{0, expected}));
  EXPECT_EQ(num_arenas_passed_, 1);
  Keep(id, MakeSentence(1));
  EXPECT_EQ(num_arenas_passed_, 1);
}

TEST_F(SessionHandlerTest, WhoDoesNotBeginWithHelloHasNoSession) {
  const ClientId id = handler_->Connect().value();
  const Error error = EndWith(id, {1, Get{{MakeSentence(1).item.key}}});
  EXPECT_EQ(error.code, StatusCode::kFailedPrecondition);
  EXPECT_THAT(error.message, HasSubstr("the first frame is a get, expected a hello"));
  EXPECT_FALSE(handler_->HasSession(id));
}

TEST_F(SessionHandlerTest, WhatOneSealsTheOtherFinds) {
  const ClientId writer = Greet(), reader = Greet();
  const std::vector<Sentence> chain = MakeChain(1, 3);
  const auto created = Ask<CreateReply>(writer, Create{{chain[0].item, chain[1].item}}).items;
  ASSERT_THAT(created, SizeIs(2));
  for (int i = 0; i < 2; ++i) Write(chain[i], created[i].range);
  EXPECT_EQ(Ask<GetReply>(reader, Get{KeysOf(chain)}), GetReply{});
  const auto sealed = Ask<SealReply>(
      writer, Seal{{{.lease = created[0].lease}, {.lease = created[1].lease, .is_tip = true}}});
  EXPECT_THAT(sealed.items, Each(SealReplyItem{.is_visible = true}));

  const GetReply got = Ask<GetReply>(reader, Get{KeysOf(chain)});
  EXPECT_EQ(got.code, StatusCode::kOk);
  EXPECT_THAT(got.blocks, ElementsAre(created[0].range, created[1].range));
  EXPECT_EQ(ReleaseBy(reader, got.lease), StatusCode::kOk);
  EXPECT_EQ(ReleaseBy(reader, got.lease), StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateBy(reader, chain[0]).outcome, CreateOutcome::kExists);
  const SessionGauges gauges = handler_->gauges();
  EXPECT_EQ(gauges.num_hit_blocks, 2u);
  EXPECT_EQ(gauges.num_missed_blocks, 4u);
  EXPECT_THAT(gauges.num_requests, ElementsAre(2u, 1u, 2u, 2u, 0u, 0u));
}

TEST_F(SessionHandlerTest, BlocksOfOtherLayoutsAreOtherBlocks) {
  Hello other = TestHello();
  other.layout.bytes[0] = 1;
  const ClientId writer = Greet(), stranger = Greet(other);
  Keep(writer, MakeSentence(1));
  EXPECT_EQ(Ask<GetReply>(stranger, Get{{MakeSentence(1).item.key}}), GetReply{});
}

TEST_F(SessionHandlerTest, ASentenceOfTwoRanksIsThereOnceBothHaveSealed) {
  Hello rank0 = TestHello(), rank1 = TestHello();
  rank0.world_size = rank1.world_size = 2;
  rank1.rank = 1;
  const ClientId first = Greet(rank0), second = Greet(rank1);
  const Sentence sentence = MakeSentence(1);
  const CreateReplyItem block0 = CreateBy(first, sentence), block1 = CreateBy(second, sentence);
  Write(sentence, block0.range, rank0);
  Write(sentence, block1.range, rank1);
  EXPECT_EQ(SealBy(first, block0.lease), SealReplyItem{});
  EXPECT_EQ(Ask<WaitReply>(first, Wait{{sentence.item.key}}), WaitReply{});
  EXPECT_THAT(later_, IsEmpty());
  EXPECT_TRUE(SealBy(second, block1.lease).is_visible);
  EXPECT_THAT(NoticeTo(first).sealed, ElementsAre(sentence.item.key));
  EXPECT_THAT(Ask<GetReply>(second, Get{{sentence.item.key}}).blocks, ElementsAre(block1.range));
}

TEST_F(SessionHandlerTest, ASecondWriterWaitsAndHearsOfTheSeal) {
  const ClientId writer = Greet(), second = Greet();
  const Sentence sentence = MakeSentence(1);
  const CreateReplyItem created = CreateBy(writer, sentence);
  EXPECT_EQ(CreateBy(second, sentence).outcome, CreateOutcome::kInProgress);
  EXPECT_EQ(Ask<WaitReply>(second, Wait{{sentence.item.key}}), WaitReply{});
  EXPECT_THAT(later_, IsEmpty());
  EXPECT_EQ(handler_->gauges().num_waits, 1u);
  Write(sentence, created.range);
  SealBy(writer, created.lease);
  EXPECT_THAT(handler_->TakeNotified(), ElementsAre(second));
  EXPECT_THAT(handler_->TakeNotified(), IsEmpty());
  EXPECT_EQ(NoticeTo(second), (Notice{.sealed = {sentence.item.key}}));
  EXPECT_EQ(handler_->gauges().num_waits, 0u);
}

TEST_F(SessionHandlerTest, AWaiterHearsOfTheWritersDeathAndMayTakeOver) {
  const ClientId writer = Greet(), second = Greet();
  const Sentence sentence = MakeSentence(1);
  CreateBy(writer, sentence);
  Ask<WaitReply>(second, Wait{{sentence.item.key}});
  handler_->Disconnect(writer);
  EXPECT_THAT(handler_->TakeNotified(), ElementsAre(second));
  EXPECT_EQ(NoticeTo(second), (Notice{.abandoned = {sentence.item.key}}));
  EXPECT_EQ(CreateBy(second, sentence).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionHandlerTest, ABlockThatIsNotAsCreatedIsAbandoned) {
  const ClientId writer = Greet(), second = Greet();
  const Sentence sentence = MakeSentence(1);
  const CreateReplyItem created = CreateBy(writer, sentence);
  Ask<WaitReply>(second, Wait{{sentence.item.key}});
  Write(MakeSentence(2), created.range);
  EXPECT_EQ(SealBy(writer, created.lease).code, StatusCode::kInvalidArgument);
  EXPECT_THAT(NoticeTo(second).abandoned, ElementsAre(sentence.item.key));
}

TEST_F(SessionHandlerTest, AllWhoWaitHearOfEachSeal) {
  const ClientId writer = Greet(), second = Greet(), third = Greet();
  const Sentence sentences[] = {MakeSentence(1), MakeSentence(2)};
  const CreateReplyItem created[] = {CreateBy(writer, sentences[0]),
                                     CreateBy(writer, sentences[1])};
  for (const ClientId id : {second, third}) {
    Ask<WaitReply>(id, Wait{{sentences[0].item.key, sentences[1].item.key}});
  }
  EXPECT_EQ(handler_->gauges().num_waits, 4u);
  for (const int i : {0, 1}) {
    Write(sentences[i], created[i].range);
    SealBy(writer, created[i].lease);
    EXPECT_THAT(handler_->TakeNotified(), ElementsAre(second, third));
    for (const ClientId id : {second, third}) {
      EXPECT_EQ(NoticeTo(id), (Notice{.sealed = {sentences[i].item.key}}));
    }
    EXPECT_EQ(handler_->gauges().num_waits, i == 0 ? 2u : 0u);
  }
}

TEST_F(SessionHandlerTest, AWaitForWhatNobodyWritesIsAnsweredAtOnce) {
  const ClientId id = Greet();
  Keep(id, MakeSentence(1));
  EXPECT_EQ(Ask<WaitReply>(id, Wait{{MakeSentence(1).item.key, MakeSentence(2).item.key}}),
            WaitReply{});
  ASSERT_THAT(later_, SizeIs(1));
  EXPECT_EQ(later_[0].body, FrameBody(Notice{.sealed = {MakeSentence(1).item.key},
                                             .abandoned = {MakeSentence(2).item.key}}));
  EXPECT_EQ(store_.gauges().index.num_leases, 1u);
}

TEST_F(SessionHandlerTest, WaitsAreCappedAndEndWithTheirClient) {
  const ClientId writer = Greet(), second = Greet();
  for (int i = 1; i <= 3; ++i) CreateBy(writer, MakeSentence(i));
  const auto key = [](int number) { return MakeSentence(number).item.key; };
  EXPECT_EQ(Ask<WaitReply>(second, Wait{{key(1), key(2)}}).code, StatusCode::kOk);
  EXPECT_EQ(Ask<WaitReply>(second, Wait{{key(1), key(3)}}).code, StatusCode::kResourceExhausted);
  EXPECT_EQ(Ask<WaitReply>(second, Wait{{key(1)}}).code, StatusCode::kOk);
  EXPECT_EQ(handler_->gauges().num_waits, 2u);
  handler_->Disconnect(second);
  EXPECT_EQ(handler_->gauges().num_waits, 0u);
  handler_->Disconnect(writer);
  EXPECT_THAT(handler_->TakeNotified(), IsEmpty());
}

TEST_F(SessionHandlerTest, WhatAClientWasNotYetToldOfCountsAsAWait) {
  const ClientId writer = Greet(), slow = Greet();
  for (int i = 1; i <= 3; ++i) CreateBy(writer, MakeSentence(i));
  std::vector<PrefixKey> keys;
  for (int i = 1; i <= 3; ++i) keys.push_back(MakeSentence(i).item.key);
  Ask<WaitReply>(slow, Wait{keys});
  handler_->Disconnect(writer);
  handler_->Receive(slow, EncodeFrame({9, Wait{{keys[0]}}}).value(), now_);
  const std::vector<Frame> heard = Hear(slow);
  ASSERT_THAT(heard, SizeIs(2));
  EXPECT_EQ(heard[0], (Frame{9, WaitReply{.code = StatusCode::kResourceExhausted}}));
  EXPECT_EQ(heard[1], (Frame{0, Notice{.abandoned = keys}}));
}

TEST_F(SessionHandlerTest, FramesThatAClientMayNotSendEndIt) {
  const FrameBody kBodies[] = {TestHello(),
                               Welcome{.arena_bytes = 1, .max_leases = 1, .max_requests = 1},
                               CreateReply{{{.outcome = CreateOutcome::kExists}}},
                               GetReply{},
                               WaitReply{},
                               Notice{.sealed = {PrefixKey{}}},
                               Error{.message = "no"}};
  for (const FrameBody& body : kBodies) {
    SCOPED_TRACE(FrameName(body));
    const bool has_id = std::holds_alternative<CreateReply>(body) ||
                        std::holds_alternative<GetReply>(body) ||
                        std::holds_alternative<WaitReply>(body);
    const ClientId id = Greet();
    const Error error = EndWith(id, {has_id ? uint64_t{5} : 0, body});
    EXPECT_EQ(error.code, StatusCode::kFailedPrecondition);
    EXPECT_THAT(error.message, HasSubstr("expected a request"));
    EXPECT_TRUE(handler_->HasSession(id));
    handler_->Disconnect(id);
  }
  EXPECT_EQ(handler_->gauges().num_errors, std::size(kBodies));
}

TEST_F(SessionHandlerTest, WhatIsNoFrameEndsTheClientAndSaysWhy) {
  const ClientId id = Greet();
  handler_->Receive(id, "no frame at all", now_);
  const std::vector<Frame> heard = Hear(id);
  ASSERT_THAT(heard, SizeIs(1));
  const Error error = std::get<Error>(heard[0].body);
  EXPECT_EQ(error.code, StatusCode::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("kind"));
}

TEST_F(SessionHandlerTest, LeasesAndUnsealedBlocksOutliveAnErrorUntilTheClientIsGone) {
  const ClientId confused = Greet(), other = Greet();
  for (int i = 1; i <= 9; ++i) Keep(confused, MakeSentence(i));
  const CreateReplyItem unsealed = CreateBy(confused, MakeSentence(10));
  EXPECT_EQ(Ask<WaitReply>(confused, Wait{{MakeSentence(10).item.key}}), WaitReply{});
  EndWith(confused, {0, Notice{.sealed = {PrefixKey{}}}});
  EXPECT_EQ(handler_->gauges().num_waits, 0u);

  EXPECT_EQ(CreateBy(other, MakeSentence(11)).code, StatusCode::kResourceExhausted);
  EXPECT_EQ(CreateBy(other, MakeSentence(10)).outcome, CreateOutcome::kInProgress);
  EXPECT_EQ(ReleaseBy(other, unsealed.lease), StatusCode::kInvalidArgument);
  EXPECT_EQ(handler_->gauges().num_refused_blocks, 1u);

  handler_->Disconnect(confused);
  EXPECT_EQ(CreateBy(other, MakeSentence(11)).outcome, CreateOutcome::kCreated);
  EXPECT_EQ(CreateBy(other, MakeSentence(10)).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionHandlerTest, ASilencedClientKeepsItsLeases) {
  const ClientId deaf = Greet(), other = Greet();
  for (int i = 1; i <= 10; ++i) Keep(deaf, MakeSentence(i));
  handler_->Silence(deaf);
  EXPECT_THAT(Hear(deaf), IsEmpty());
  EXPECT_EQ(CreateBy(other, MakeSentence(11)).code, StatusCode::kResourceExhausted);
}

TEST_F(SessionHandlerTest, ForgedLeasesAreRefused) {
  const ClientId owner = Greet(), forger = Greet();
  const auto lease = static_cast<uint64_t>(Keep(owner, MakeSentence(1)));
  for (const uint64_t forged : {uint64_t{0}, uint64_t{1}, lease, lease + 1,
                                lease + (uint64_t{1} << 32), uint64_t{UINT32_MAX}, UINT64_MAX}) {
    SCOPED_TRACE(forged);
    EXPECT_EQ(ReleaseBy(forger, LeaseHandle{forged}), StatusCode::kInvalidArgument);
    EXPECT_EQ(SealBy(forger, LeaseHandle{forged}).code, StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(ReleaseBy(owner, LeaseHandle{lease}), StatusCode::kOk);
}

TEST_F(SessionHandlerTest, SessionsAndClientsBeyondTheLimitsAreRefused) {
  const ClientId first = Greet();
  Greet();
  Greet();
  const ClientId fourth = handler_->Connect().value();
  EXPECT_FALSE(handler_->Connect().has_value());
  EXPECT_EQ(EndWith(fourth, {0, TestHello()}).code, StatusCode::kResourceExhausted);
  EXPECT_EQ(handler_->gauges().num_clients, 4u);
  EXPECT_EQ(handler_->gauges().num_sessions, 3u);
  handler_->Disconnect(fourth);
  handler_->Disconnect(first);
  Greet();
}

TEST_F(SessionHandlerTest, MoreRanksThanTheStoreKnowsAreRefused) {
  Hello hello = TestHello();
  hello.world_size = 65;
  const Error error = EndWith(handler_->Connect().value(), {0, hello});
  EXPECT_EQ(error.code, StatusCode::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("world_size is 65, expected 1 to 64"));
}

TEST_F(SessionHandlerTest, ATenantsQuotaIsItsOwnAndUnknownNamesShareTheRest) {
  Hello small = TestHello(), unknown = TestHello();
  small.tenant = "small";
  unknown.tenant = "unknown";
  const ClientId in_small = Greet(small), in_common = Greet(unknown);
  for (int i = 1; i <= 2; ++i) Keep(in_small, MakeSentence(i));
  EXPECT_EQ(CreateBy(in_small, MakeSentence(3)).code, StatusCode::kResourceExhausted);
  for (int i = 3; i <= 10; ++i) Keep(in_common, MakeSentence(i));
}

}  // namespace
}  // namespace skv::kvstore
