// Blocks of another store: a real one, and ones that say what a test wants.

#include "kvstore/peer/peer_tier.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/grpc/testing/store_fixture.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::SizeIs;

TimePoint In(Duration time) { return RealClock().Now() + time; }

std::vector<TierKey> TierKeysOf(const std::vector<Sentence>& chain, uint32_t world_size = 1) {
  std::vector<TierKey> keys;
  for (const Sentence& sentence : chain) {
    for (uint32_t rank = 0; rank < world_size; ++rank) {
      keys.push_back({{sentence.item.key, TestHello().layout}, rank});
    }
  }
  return keys;
}

void Store(TestClient* client, const std::vector<Sentence>& chain) {
  for (const Sentence& sentence : chain) ASSERT_TRUE(client->Store(sentence).has_value());
}

TEST(PeerTierTest, WhatThePeerHasIsFoundAndTheRestIsNot) {
  TestStore store;
  const auto client = store.Connect();
  const std::vector<Sentence> chain = MakeChain(1, 50);
  Store(client.get(), {chain.begin(), chain.begin() + 30});
  const auto tier = OpenPeerTier(store.address()).value();
  EXPECT_EQ(tier->name(), absl::StrCat("peer:", store.address()));
  // Twice: memory is used again, but not while someone has it.
  const auto first = tier->Get(TierKeysOf(chain), In(seconds(50)));
  const auto second = tier->Get(TierKeysOf(chain), In(seconds(50)));
  for (const auto* values : {&first, &second}) {
    ASSERT_TRUE(values->ok()) << values->status();
    ASSERT_THAT(**values, SizeIs(50));
    for (size_t i = 0; i < 50; ++i) {
      if (i < 30) {
        EXPECT_TRUE(IsIntact(chain[i], TestHello(), (**values)[i].value().bytes));
      } else {
        EXPECT_THAT((**values)[i].status(), StatusIs(StatusCode::kNotFound, testing::_));
      }
    }
  }
  EXPECT_NE((*first)[0]->bytes.data(), (*second)[0]->bytes.data());
  EXPECT_EQ(tier->gauges().num_hits, 60u);
  EXPECT_EQ(tier->gauges().num_misses, 40u);
  EXPECT_EQ(tier->gauges().num_read_bytes, 60u * 192);
}

TEST(PeerTierTest, BlocksOfAllRanksAreFound) {
  TestStore store;
  const std::vector<Sentence> chain = MakeChain(1, 10);
  std::vector<Hello> hellos(2, TestHello());
  std::vector<std::unique_ptr<TestClient>> clients;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    hellos[rank].rank = rank;
    hellos[rank].world_size = 2;
    clients.push_back(store.Connect(hellos[rank]));
  }
  for (const Sentence& sentence : chain) {
    for (const auto& client : clients) {
      const CreateReplyItem created = client->Create(sentence);
      client->Write(sentence, created.range);
      EXPECT_EQ(client->Seal(created.lease).code, StatusCode::kOk);
    }
  }
  const auto tier = OpenPeerTier(store.address()).value();
  const auto values = tier->Get(TierKeysOf(chain, 2), In(seconds(50)));
  ASSERT_TRUE(values.ok()) << values.status();
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(IsIntact(chain[i / 2], hellos[i % 2], (*values)[i].value().bytes));
  }
}

TEST(PeerTierTest, NothingIsWrittenToThePeer) {
  TestStore store;
  const auto tier = OpenPeerTier(store.address()).value();
  const std::vector<std::byte> bytes(192);
  const TierKey key = TierKeysOf({MakeSentence(1)})[0];
  EXPECT_OK(tier->Put(std::vector<TierBlock>{{key, bytes}}, In(seconds(50))));
  EXPECT_OK(tier->Erase(std::vector<TierKey>{key}, In(seconds(50))));
  EXPECT_EQ(store.gauges().store.index.num_entries, 0u);
  EXPECT_EQ(tier->Get(std::vector<TierKey>(65, key), In(seconds(50))).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(PeerTierTest, APeerWithAsManyReadersAsItTakesIsOn) {
  TestStore store({.max_read_streams = 0});
  const auto tier = OpenPeerTier(store.address()).value();
  EXPECT_THAT(tier->Get(TierKeysOf({MakeSentence(1)}), In(seconds(50))).status(),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr(store.address())));
  EXPECT_TRUE(tier->gauges().is_on);
  EXPECT_EQ(tier->gauges().num_failures, 1u);
}

TEST(PeerTierTest, APeerThatIsGoneIsOffUntilItIsBack) {
  TestStore store;
  const auto client = store.Connect();
  const std::vector<Sentence> chain = MakeChain(1, 3);
  Store(client.get(), chain);
  store.StopGrpc();
  const auto tier = OpenPeerTier(store.address()).value();
  EXPECT_THAT(tier->Get(TierKeysOf(chain), In(seconds(50))).status(),
              StatusIs(StatusCode::kUnavailable, HasSubstr(store.address())));
  EXPECT_FALSE(tier->gauges().is_on);
  store.StartGrpc();
  EXPECT_TRUE(Eventually([&] { return tier->Get(TierKeysOf(chain), In(seconds(50))).ok(); }));
  EXPECT_TRUE(tier->gauges().is_on);
}

TEST(PeerTierTest, APeerThatNeverAnswersCostsNoMoreThanTheDeadline) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length) + listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const auto tier = OpenPeerTier(absl::StrCat("127.0.0.1:", ntohs(address.sin_port))).value();
  const TimePoint begin = RealClock().Now();
  EXPECT_THAT(tier->Get(TierKeysOf({MakeSentence(1)}), In(milliseconds(300))).status(),
              StatusIs(StatusCode::kUnavailable, testing::_));
  EXPECT_LT(RealClock().Now() - begin, seconds(20));
  close(fd);
}

TEST(PeerTierTest, AddressesThatAreNone) {
  for (const char* address : {"", "host", ":1", "host:", "host:0", "host:65536", "host:x"}) {
    EXPECT_THAT(OpenPeerTier(address).status(),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("HOST:PORT")));
  }
}

// A peer that sends what the test says.
class ScriptedPeer : public v1::KvStore::Service {
 public:
  using Writer = grpc::ServerWriter<v1::ReadResponse>;
  using Script = std::function<grpc::Status(Writer*)>;

  explicit ScriptedPeer(Script script) : script_(std::move(script)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~ScriptedPeer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status Read(grpc::ServerContext*, const v1::ReadRequest*, Writer* writer) override {
    return script_(writer);
  }
  // Of four keys.
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(Duration time = seconds(50)) const {
    const auto tier = OpenPeerTier(absl::StrCat("127.0.0.1:", port_)).value();
    return tier->Get(TierKeysOf(MakeChain(1, 4)), In(time));
  }

 private:
  const Script script_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

v1::ReadResponse Sizes(const std::vector<uint64_t>& sizes) {
  v1::ReadResponse message;
  message.mutable_block_bytes()->Add(sizes.begin(), sizes.end());
  return message;
}

v1::ReadResponse Data(size_t num_bytes) {
  v1::ReadResponse message;
  message.set_data(std::string(num_bytes, 'x'));
  return message;
}

void ExpectUnavailable(const std::vector<v1::ReadResponse>& messages, const char* text) {
  const ScriptedPeer peer([&](ScriptedPeer::Writer* writer) {
    for (const v1::ReadResponse& message : messages) writer->Write(message);
    return grpc::Status::OK;
  });
  EXPECT_THAT(peer.Get().status(), StatusIs(StatusCode::kUnavailable, HasSubstr(text)));
}

TEST(PeerTierTest, APeerThatDoesNotSpeakLikeOneIsUnavailable) {
  ExpectUnavailable({}, "no message");
  ExpectUnavailable({Data(10)}, "how long the blocks are");
  ExpectUnavailable({Sizes({1, 2, 3, 4, 5})}, "how long the blocks are");
  ExpectUnavailable({Sizes({0})}, "a block of 0 bytes");
  ExpectUnavailable({Sizes({uint64_t{1} << 29, (uint64_t{1} << 29) + 1})}, "a block of");
  ExpectUnavailable({Sizes({UINT64_MAX, 2})}, "a block of");
  ExpectUnavailable({Sizes({10}), Data(11)}, "got 11 bytes of blocks, expected at most 10");
  ExpectUnavailable({Sizes({10}), Data(9)}, "got 9 bytes of blocks, expected 10");
  ExpectUnavailable({Sizes({10}), Sizes({10})}, "no data of blocks");
  v1::ReadResponse both = Data(10);
  both.add_block_bytes(10);
  ExpectUnavailable({both}, "how long the blocks are");
  ExpectUnavailable({Sizes({10}), both}, "no data of blocks");
  ExpectUnavailable({Sizes({300}), Data(3 << 20)}, "expected at most 300");
  ExpectUnavailable({Sizes({300}), Data(5 << 20)}, "larger than max");
}

TEST(PeerTierTest, WhatCameWholeBeforeThePeerFailedIsFound) {
  const ScriptedPeer peer([](ScriptedPeer::Writer* writer) {
    writer->Write(Sizes({100, 200, 300}));
    writer->Write(Data(50));
    writer->Write(Data(400));
    return grpc::Status(grpc::StatusCode::INTERNAL, "no more");
  });
  const auto values = peer.Get();
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ((*values)[0]->bytes.size(), 100u);
  EXPECT_EQ((*values)[1]->bytes.size(), 200u);
  EXPECT_THAT((*values)[2].status(), StatusIs(StatusCode::kNotFound, testing::_));
  EXPECT_THAT((*values)[3].status(), StatusIs(StatusCode::kNotFound, testing::_));
}

TEST(PeerTierTest, APeerThatStopsHalfwayCostsNoMoreThanTheDeadline) {
  Mutex mutex;
  CondVar changed;
  bool is_over = false;
  const ScriptedPeer peer([&](ScriptedPeer::Writer* writer) {
    writer->Write(Sizes({100, 200}));
    writer->Write(Data(150));
    const MutexLock lock(&mutex);
    changed.WaitUntil(&mutex, In(seconds(100)), [&] { return is_over; });
    return grpc::Status::OK;
  });
  const TimePoint begin = RealClock().Now();
  const auto values = peer.Get(milliseconds(500));
  EXPECT_LT(RealClock().Now() - begin, seconds(20));
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_TRUE((*values)[0].ok());
  EXPECT_THAT((*values)[1].status(), StatusIs(StatusCode::kNotFound, testing::_));
  const MutexLock lock(&mutex);
  is_over = true;
  changed.NotifyAll();
}

}  // namespace
}  // namespace skv::kvstore
