#include "kvstore/client/session_block_client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/client/testing/client_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Act = FakeKvstore::Act;
using Visibility = SealedBlock::Visibility;

// Changes the bodies of one kind.
template <typename Body>
FakeKvstore::Tamper On(std::function<void(Body*)> change) {
  return [change](Frame* frame) {
    if (auto* body = std::get_if<Body>(&frame->body)) change(body);
    return Act::kSend;
  };
}

template <typename Body>
FakeKvstore::Tamper Instead(Act act) {
  return [act](const Frame* frame) {
    return std::holds_alternative<Body>(frame->body) ? act : Act::kSend;
  };
}

class SessionBlockClientTest : public testing::Test {
 protected:
  SessionBlockClientTest() { fixture_.StartStore(); }

  FakeKvstore& store() { return fixture_.store(); }
  uint32_t NumStoreLeases() { return store().gauges().index.num_leases; }
  // What the store does when a socket closes, it does in its own time.
  void AwaitNumSessions(uint32_t expected) {
    const TimePoint deadline = Soon();
    while (store().gauges().index.num_sessions != expected && RealClock().Now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(store().gauges().index.num_sessions, expected);
  }
  absl::Status Get(BlockClient& client, const TestChain& chain) {
    return client.Get(chain.keys, Soon()).status();
  }

  ClientFixture fixture_;
};

TEST_F(SessionBlockClientTest, AStoreThatRefusesSaysWhy) {
  int fds[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
  SessionSocket store_end{Descriptor(fds[0])};
  ASSERT_OK(store_end.Send(*EncodeFrame({.body = ErrorOf(absl::ResourceExhaustedError("full"))}),
                           Soon()));
  EXPECT_THAT(
      OpenSessionBlockClient(SessionSocket(Descriptor(fds[1])), {.client_name = "test"}, Soon()),
      StatusIs(StatusCode::kResourceExhausted, HasSubstr("opening a session: full")));
}

TEST_F(SessionBlockClientTest, NobodyThereIsUnavailable) {
  fixture_.KillStore();
  EXPECT_THAT(fixture_.TryConnect(), StatusIs(StatusCode::kUnavailable, HasSubstr("no store")));
}

TEST_F(SessionBlockClientTest, AnArenaThatCouldBeCutOffIsNotMapped) {
  const Descriptor unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const Descriptor small(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), kTestArenaBytes), 0);
  ASSERT_EQ(ftruncate(small.get(), 4096), 0);
  ASSERT_EQ(fcntl(small.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  const Descriptor file(open("/dev/zero", O_RDWR | O_CLOEXEC));
  const struct {
    int fd;
    StatusCode code;
    const char* message;
  } kCases[] = {{unsealed.get(), StatusCode::kFailedPrecondition, "expected F_SEAL_SHRINK"},
                {small.get(), StatusCode::kFailedPrecondition, "has 4096 bytes, expected 1048576"},
                {file.get(), StatusCode::kFailedPrecondition, "is no memfd"},
                {-1, StatusCode::kInvalidArgument, "without a descriptor"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    store().set_welcome_fd(c.fd);
    EXPECT_THAT(fixture_.TryConnect(), StatusIs(c.code, HasSubstr(c.message)));
  }
}

TEST_F(SessionBlockClientTest, WhatIsNoWelcomeIsRefused) {
  store().set_tamper([](Frame* frame) {
    frame->body = Notice{.sealed = {PrefixKey()}};
    return Act::kSend;
  });
  EXPECT_THAT(fixture_.TryConnect(),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("kind notice, expected welcome")));
}

// A store that does not keep to the protocol: what it answers, to what, and what is wrong with it.
struct HostileCase {
  const char* message;
  FakeKvstore::Tamper tamper;
  std::function<absl::Status(BlockClient&)> call;
};

absl::Status CallGet(BlockClient& client) {
  return client.Get(MakeChain(1, 2).keys, Soon()).status();
}
absl::Status CallCreate(BlockClient& client) {
  return client.Create(MakeChain(2, 2).sentences, Soon())[1].status();
}
absl::Status CallRelease(BlockClient& client) {
  EXPECT_OK(CallGet(client));
  return CallGet(client);
}
absl::Status CallWait(BlockClient& client) { return client.Wait(MakeChain(1, 2).keys, Soon()); }

std::vector<HostileCase> HostileGets() {
  using Reply = GetReply;
  return {{"1048576 bytes, at a multiple of 64",
           On<Reply>([](Reply* r) { r->blocks[0].offset = kTestArenaBytes; }), CallGet},
          {"block of 1048577 bytes at 0", On<Reply>([](Reply* r) {
             r->blocks[0] = {0, kTestArenaBytes + 1};
           }),
           CallGet},
          {"block of 140737488355328 bytes at 0", On<Reply>([](Reply* r) {
             r->blocks[1] = {0, kMaxArenaBytes};
           }),
           CallGet},
          {"at a multiple of 64", On<Reply>([](Reply* r) { r->blocks[1].offset += 8; }), CallGet},
          {"get reply: has 3 items, expected 2",
           On<Reply>([](Reply* r) { r->blocks.push_back(r->blocks[0]); }), CallGet},
          {"kind wait reply, expected get reply",
           [](Frame* frame) {
             if (std::holds_alternative<Reply>(frame->body)) frame->body = WaitReply();
             return Act::kSend;
           },
           CallGet},
          {"which awaits none",
           [](Frame* frame) {
             if (std::holds_alternative<Reply>(frame->body)) frame->request_id += 7;
             return Act::kSend;
           },
           CallGet},
          {"the store says: out of order",
           [](Frame* frame) {
             if (std::holds_alternative<Reply>(frame->body)) {
               frame->body = ErrorOf(absl::InternalError("out of order"));
             }
             return Act::kSend;
           },
           CallGet},
          {"the peer has closed", Instead<Reply>(Act::kDie), CallGet}};
}

std::vector<HostileCase> HostileOthers() {
  return {
      {"create reply: has 1 items, expected 2",
       On<CreateReply>([](CreateReply* r) { r->items.pop_back(); }), CallCreate},
      {"create reply: block of 192 bytes at 1048576",
       On<CreateReply>([](CreateReply* r) { r->items[1].range.offset = kTestArenaBytes; }),
       CallCreate},
      {"place for a block has 191 bytes, expected at least 192",
       On<CreateReply>([](CreateReply* r) { r->items[1].range.num_bytes = 191; }), CallCreate},
      {"was given twice",
       On<CreateReply>([](CreateReply* r) { r->items[1].lease = r->items[0].lease; }), CallCreate},
      {"a block that is leased lies there", On<CreateReply>([](CreateReply* r) {
         r->items[1].range = {0, 192};
       }),
       CallCreate},
      {"release reply: has 2 items, expected 1",
       On<ReleaseReply>([](ReleaseReply* r) { r->codes.push_back(StatusCode::kOk); }), CallRelease},
      {"kind create reply, expected wait reply",
       [](Frame* frame) {
         if (std::holds_alternative<WaitReply>(frame->body)) {
           frame->body = CreateReply{{CreateReplyItem{.code = StatusCode::kInternal}}};
         }
         return Act::kSend;
       },
       CallWait}};
}

TEST_F(SessionBlockClientTest, AHostileStoreIsLostAndWhatIsHeldStaysReadable) {
  std::vector<HostileCase> cases = HostileGets();
  for (HostileCase& c : HostileOthers()) cases.push_back(std::move(c));
  for (const HostileCase& c : cases) {
    SCOPED_TRACE(c.message);
    FakeKvstore& store = fixture_.StartStore();
    const std::unique_ptr<BlockClient> client = fixture_.Connect();
    const TestChain chain = MakeChain(1, 2);
    const std::vector<SealedBlock> held = Store(*client, chain);
    store.set_tamper(c.tamper);
    absl::Status status = c.call(*client);
    EXPECT_THAT(status, StatusIs(StatusCode::kUnavailable, HasSubstr(c.message)));
    EXPECT_EQ(client->status(), status);
    EXPECT_EQ(Get(*client, chain), status);
    EXPECT_EQ(client->Flush(Soon()), status);
    EXPECT_TRUE(IsWhole(held[1].block.blocks()[0], chain.sentences[1]));
  }
}

TEST_F(SessionBlockClientTest, ASealReplyOfAnotherLengthLeavesPrivateBlocks) {
  const auto client = fixture_.Connect();
  store().set_tamper(On<SealReply>([](SealReply* r) { r->items.pop_back(); }));
  for (const SealedBlock& sealed : Store(*client, MakeChain(1, 2))) {
    EXPECT_EQ(sealed.visibility, Visibility::kPrivate);
    EXPECT_EQ(sealed.block.size(), 1u);
  }
  EXPECT_THAT(client->status(),
              StatusIs(StatusCode::kUnavailable, HasSubstr("seal reply: has 1 items, expected 2")));
}

TEST_F(SessionBlockClientTest, ASilentStoreCostsOneDeadline) {
  const auto client = fixture_.Connect();
  store().set_tamper(Instead<GetReply>(Act::kKeepSilent));
  const TimePoint begin = RealClock().Now();
  const TestChain chain = MakeChain(1, 1);
  EXPECT_THAT(client->Get(chain.keys, begin + std::chrono::milliseconds(50)),
              StatusIs(StatusCode::kUnavailable, HasSubstr("deadline has passed")));
  EXPECT_GE(RealClock().Now() - begin, std::chrono::milliseconds(50));
  EXPECT_THAT(client->Get(chain.keys, TimePoint::max()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("deadline has passed")));
  EXPECT_LT(RealClock().Now() - begin, std::chrono::seconds(15));
}

TEST_F(SessionBlockClientTest, ADeadlineThatHasPassedAsksNothing) {
  const auto client = fixture_.Connect();
  const TestChain chain = MakeChain(1, 1);
  EXPECT_THAT(client->Get(chain.keys, TimePoint::min()),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("before the request")));
  EXPECT_OK(client->status());
  EXPECT_OK(Get(*client, chain));
}

TEST_F(SessionBlockClientTest, ABlockThatIsSealedTooLateIsPrivateAndStaysItsWriters) {
  const auto client = fixture_.Connect();
  const TestChain chain = MakeChain(1, 1);
  auto sealed = client->Seal(Write(*client, chain), true, TimePoint::min());
  ASSERT_OK(sealed[0]);
  EXPECT_EQ(sealed[0]->visibility, Visibility::kPrivate);
  EXPECT_OK(client->status());
  EXPECT_EQ(client->gauges().num_leases, 1u);
  EXPECT_EQ(client->Create(chain.sentences, Soon())[0]->outcome, Creation::Outcome::kInProgress);
  EXPECT_TRUE(IsWhole(sealed[0]->block.blocks()[0], chain.sentences[0]));
  sealed.clear();
  EXPECT_EQ(client->Create(chain.sentences, Soon())[0]->outcome, Creation::Outcome::kCreated);
}

TEST_F(SessionBlockClientTest, WhatADeadStoreLeavesIsPrivateAndItsWaitersAreTold) {
  const auto client = fixture_.Connect();
  const TestChain chain = MakeChain(1, 2);
  std::vector<WritableBlock> blocks = Write(*client, chain);
  EXPECT_OK(client->Wait(chain.keys, Soon()));
  fixture_.KillStore();
  EXPECT_THAT(client->TakeNotices().abandoned, UnorderedElementsAre(chain.keys[0], chain.keys[1]));
  EXPECT_THAT(client->status(), StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  blocks[1].payload()[0] = FillOf(chain.sentences[1]);
  const auto sealed = client->Seal(std::move(blocks), true, Soon());
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_OK(sealed[i]);
    EXPECT_EQ(sealed[i]->visibility, Visibility::kPrivate);
    EXPECT_TRUE(IsWhole(sealed[i]->block.blocks()[0], chain.sentences[i]));
  }
}

TEST_F(SessionBlockClientTest, TheStoreHasNoLeaseOfOursOnceAllHandlesAreGone) {
  const auto client = fixture_.Connect();
  std::vector<SealedBlock> sealed = Store(*client, MakeChain(1, 3));
  absl::StatusOr<LeasedChain> chain = client->Get(MakeChain(1, 3).keys, Soon());
  std::vector<WritableBlock> written = Write(*client, MakeChain(2, 2));
  EXPECT_EQ(NumStoreLeases(), 6u);
  EXPECT_EQ(client->gauges().num_leases, 6u);
  *chain = LeasedChain();
  sealed.erase(sealed.begin());
  written.pop_back();
  EXPECT_EQ(client->gauges().num_leases, 3u);
  EXPECT_EQ(client->gauges().num_unsent_ends, 3u);
  Sync(*client);
  EXPECT_EQ(NumStoreLeases(), 3u);
  sealed.clear();
  written.clear();
  Sync(*client);
  EXPECT_EQ(NumStoreLeases(), 0u);
  EXPECT_EQ(client->gauges().num_leases, 0u);
  EXPECT_EQ(client->gauges().num_unsent_ends, 0u);
}

TEST_F(SessionBlockClientTest, ManyLeasesEndInOneFrame) {
  const auto client = fixture_.Connect();
  std::vector<SealedBlock> sealed = Store(*client, MakeChain(1, 400));
  std::atomic<int> num_frames = 0;
  store().set_tamper([&num_frames](const Frame* frame) {
    num_frames += std::holds_alternative<ReleaseReply>(frame->body) ? 1 : 0;
    return Act::kSend;
  });
  sealed.clear();
  Sync(*client);
  EXPECT_EQ(num_frames, 1);
  EXPECT_EQ(NumStoreLeases(), 0u);
  store().set_tamper(nullptr);
}

TEST_F(SessionBlockClientTest, MoreLeasesThanAFrameTakesEndInTwo) {
  const auto client = fixture_.Connect();
  const TestChain chain = MakeChain(1, 1);
  const std::vector<SealedBlock> sealed = Store(*client, chain);
  std::vector<LeasedChain> leased(kMaxFrameItems + 100);
  for (LeasedChain& lease : leased) {
    ASSERT_OK_AND_ASSIGN(lease, client->Get(chain.keys, Soon()));
  }
  EXPECT_EQ(NumStoreLeases(), leased.size() + 1);
  leased.clear();
  Sync(*client);
  EXPECT_EQ(NumStoreLeases(), 1u);
}

TEST_F(SessionBlockClientTest, AStoreMayAllowOneRequestAtATime) {
  fixture_.StartStore(/*max_requests=*/1);
  const auto client = fixture_.Connect();
  std::vector<SealedBlock> sealed = Store(*client, MakeChain(1, 20));
  while (!sealed.empty()) {
    sealed.pop_back();
    EXPECT_OK(client->Flush(Soon()));
  }
  Sync(*client);
  EXPECT_EQ(NumStoreLeases(), 0u);
}

TEST_F(SessionBlockClientTest, NoMoreRequestsAreUnderWayThanTheStoreAllows) {
  for (const uint32_t max_requests : {1, 2}) {
    fixture_.StartStore(max_requests);
    const auto client = fixture_.Connect();
    const TestChain chain = MakeChain(1, 1);
    Store(*client, chain).clear();
    store().set_tamper(Instead<ReleaseReply>(Act::kKeepSilent));
    const bool may_ask = max_requests > 1;
    const TimePoint deadline = may_ask ? Soon() : RealClock().Now() + std::chrono::milliseconds(50);
    EXPECT_EQ(client->Get(chain.keys, deadline).ok(), may_ask);
    EXPECT_EQ(client->status().ok(), may_ask);
  }
}

TEST_F(SessionBlockClientTest, TheSessionEndsWithTheLastHandle) {
  auto client = fixture_.Connect();
  std::vector<SealedBlock> sealed = Store(*client, MakeChain(1, 2));
  client.reset();
  const auto other = fixture_.Connect();
  AwaitNumSessions(2);
  EXPECT_EQ(NumStoreLeases(), 2u);
  sealed.clear();
  AwaitNumSessions(1);
  EXPECT_EQ(NumStoreLeases(), 0u);
}

TEST_F(SessionBlockClientTest, TwoClientsShareBlocks) {
  const auto writer = fixture_.Connect(), reader = fixture_.Connect();
  const TestChain chain = MakeChain(1, 2);
  std::vector<WritableBlock> blocks = Write(*writer, chain);
  const auto creations = reader->Create(chain.sentences, Soon());
  EXPECT_EQ(creations[0]->outcome, Creation::Outcome::kInProgress);
  EXPECT_OK(reader->Wait(chain.keys, Soon()));
  const auto sealed = writer->Seal(std::move(blocks), true, Soon());
  Sync(*writer);
  Sync(*reader);
  EXPECT_THAT(reader->TakeNotices().sealed, ElementsAre(chain.keys[0], chain.keys[1]));
  ASSERT_OK_AND_ASSIGN(const LeasedChain found, reader->Get(chain.keys, Soon()));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(IsWhole(found.blocks()[1], chain.sentences[1]));
  EXPECT_EQ(reader->gauges().num_verified_bytes, 128u);
}

TEST_F(SessionBlockClientTest, AnEntryIsVisibleWhenAllRanksHaveSealed) {
  const auto rank0 = fixture_.Connect(0, 2), rank1 = fixture_.Connect(1, 2);
  const TestChain chain = MakeChain(1, 1);
  std::vector<WritableBlock> block0 = Write(*rank0, chain), block1 = Write(*rank1, chain);
  const auto sealed0 = rank0->Seal(std::move(block0), true, Soon());
  EXPECT_EQ(sealed0[0]->visibility, Visibility::kPending);
  EXPECT_TRUE(rank0->Get(chain.keys, Soon())->empty());
  const auto sealed1 = rank1->Seal(std::move(block1), true, Soon());
  EXPECT_EQ(sealed1[0]->visibility, Visibility::kVisible);
  ASSERT_OK_AND_ASSIGN(const LeasedChain found, rank0->Get(chain.keys, Soon()));
  EXPECT_EQ(found.blocks()[0].payload.data(), sealed0[0]->block.blocks()[0].payload.data());
}

TEST_F(SessionBlockClientTest, ABlockWhoseOtherRankGaveUpIsPrivate) {
  const auto rank0 = fixture_.Connect(0, 2), rank1 = fixture_.Connect(1, 2);
  const TestChain chain = MakeChain(1, 1);
  std::vector<WritableBlock> block0 = Write(*rank0, chain);
  Write(*rank1, chain).clear();
  Sync(*rank1);
  const auto sealed = rank0->Seal(std::move(block0), true, Soon());
  ASSERT_OK(sealed[0]);
  EXPECT_EQ(sealed[0]->visibility, Visibility::kPrivate);
  EXPECT_TRUE(IsWhole(sealed[0]->block.blocks()[0], chain.sentences[0]));
  EXPECT_EQ(rank0->gauges().num_leases, 1u);
}

TEST_F(SessionBlockClientTest, ARefusalIsNeverUnavailable) {
  const auto client = fixture_.Connect();
  store().set_tamper(On<WaitReply>([](WaitReply* r) { r->code = StatusCode::kUnavailable; }));
  EXPECT_THAT(CallWait(*client), StatusIs(StatusCode::kInternal, HasSubstr("UNAVAILABLE")));
  EXPECT_OK(client->status());
}

}  // namespace
}  // namespace skv::kvstore
