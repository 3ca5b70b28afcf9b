// Read of a real store: what callers get that read along, stop reading, go away or ask for what
// they must not, and that nothing stays leased for them.

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "kvstore/grpc/testing/store_fixture.h"
#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Together more than what gRPC and sockets take from a store while nobody reads.
constexpr uint64_t kLarge = (2 << 20) - 128;
constexpr int kNumLarge = 16;
constexpr uint64_t kLargeArena = 48 << 20;

v1::ReadRequest RequestOf(const std::vector<Sentence>& chain, uint32_t rank = 0) {
  v1::ReadRequest request;
  for (const Sentence& sentence : chain) {
    *request.add_keys() = ToProto(EntryKey{sentence.item.key, TestHello().layout});
  }
  request.set_rank(rank);
  return request;
}

std::vector<Sentence> MakeLargeChain(int first_number) {
  std::vector<Sentence> chain;
  for (int i = 0; i < kNumLarge; ++i) {
    const Sentence sentence =
        MakeSentence(first_number + i, i == 0 ? nullptr : &chain.back(), kLarge);
    chain.push_back(sentence);
  }
  return chain;
}

// One Read call, message by message.
class Reader {
 public:
  Reader(TestStore* store, const v1::ReadRequest& request, milliseconds time = seconds(50))
      : stub_(store->NewStub()) {
    if (time.count() > 0) context_.set_deadline(std::chrono::system_clock::now() + time);
    reader_ = stub_->Read(&context_, request);
  }
  ~Reader() {
    context_.TryCancel();
    if (!is_finished_) Finish();
  }

  bool Read() {
    v1::ReadResponse response;
    if (!reader_->Read(&response)) return false;
    sizes_.insert(sizes_.end(), response.block_bytes().begin(), response.block_bytes().end());
    data_ += response.data();
    return true;
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() {
    is_finished_ = true;
    while (Read()) {
    }
    return reader_->Finish();
  }
  // Of those that came whole.
  std::vector<std::span<const std::byte>> blocks() const {
    std::vector<std::span<const std::byte>> blocks;
    auto rest = std::as_bytes(std::span(data_));
    for (const uint64_t size : sizes_) {
      if (size > rest.size()) break;
      blocks.push_back(rest.first(size));
      rest = rest.subspan(size);
    }
    return blocks;
  }

 private:
  const std::unique_ptr<v1::KvStore::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::ReadResponse>> reader_;
  bool is_finished_ = false;
  std::vector<uint64_t> sizes_;
  std::string data_;
};

class ReadTest : public testing::Test {
 protected:
  void Start(const TestStoreOptions& options = {}) {
    store_ = std::make_unique<TestStore>(options);
    client_ = store_->Connect();
  }
  void Store(const std::vector<Sentence>& chain) {
    for (const Sentence& sentence : chain) {
      const auto stored = client_->Store(sentence);
      ASSERT_TRUE(stored.has_value());
      ASSERT_EQ(client_->Release(stored->lease), absl::StatusCode::kOk);
    }
  }
  void StartWithLargeChain(uint32_t max_read_streams = 4) {
    Start({.arena_bytes = kLargeArena, .max_read_streams = max_read_streams});
    chain_ = MakeLargeChain(1);
    Store(chain_);
  }
  ReadGauges Gauges() const { return store_->grpc().service().read_gauges(); }
  void ExpectNothingIsHeld() {
    EXPECT_TRUE(Eventually([&] { return Gauges().num_streams == 0; }));
    EXPECT_EQ(Gauges().num_held_bytes, 0u);
    EXPECT_TRUE(Eventually([&] { return store_->gauges().store.index.num_leases == 0; }));
  }
  static void ExpectAreThose(const std::vector<std::span<const std::byte>>& blocks,
                             const std::vector<Sentence>& chain, size_t num_blocks) {
    ASSERT_THAT(blocks, SizeIs(num_blocks));
    for (size_t i = 0; i < num_blocks; ++i) {
      EXPECT_TRUE(IsIntact(chain[i], TestHello(), blocks[i])) << i;
    }
  }

  std::unique_ptr<TestStore> store_;
  std::unique_ptr<TestClient> client_;
  std::vector<Sentence> chain_;
};

TEST_F(ReadTest, AWholeChainIsSent) {
  Start();
  const std::vector<Sentence> chain = MakeChain(1, 200);
  Store(chain);
  Reader reader(store_.get(), RequestOf(chain));
  ASSERT_TRUE(reader.Finish().ok());
  ExpectAreThose(reader.blocks(), chain, 200);
  EXPECT_EQ(Gauges().num_reads, 1u);
  EXPECT_EQ(Gauges().num_sent_blocks, 200u);
  EXPECT_EQ(Gauges().num_sent_bytes, 200u * 192);
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, LargeBlocksAreSentInPieces) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(reader.Finish().ok());
  ExpectAreThose(reader.blocks(), chain_, kNumLarge);
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, AChainEndsWhereSomethingIsMissing) {
  Start();
  const std::vector<Sentence> chain = MakeChain(1, 20);
  Store({chain.begin(), chain.begin() + 12});
  Reader part(store_.get(), RequestOf(chain));
  ASSERT_TRUE(part.Finish().ok());
  ExpectAreThose(part.blocks(), chain, 12);
  Reader begun_late(store_.get(), RequestOf({chain.begin() + 5, chain.end()}));
  ASSERT_TRUE(begun_late.Finish().ok());
  ExpectAreThose(begun_late.blocks(), {chain.begin() + 5, chain.end()}, 7);
  Reader none(store_.get(), RequestOf({chain.begin() + 12, chain.end()}));
  ASSERT_TRUE(none.Finish().ok());
  EXPECT_THAT(none.blocks(), IsEmpty());
  Reader no_such_rank(store_.get(), RequestOf(chain, 1));
  ASSERT_TRUE(no_such_rank.Finish().ok());
  EXPECT_THAT(no_such_rank.blocks(), IsEmpty());
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, EachRankHasItsOwnBlocks) {
  Start();
  const Sentence sentence = MakeSentence(1);
  std::vector<std::unique_ptr<TestClient>> ranks;
  for (uint32_t rank = 0; rank < 2; ++rank) {
    Hello hello = TestHello();
    hello.rank = rank;
    hello.world_size = 2;
    ranks.push_back(store_->Connect(hello));
    const CreateReplyItem created = ranks.back()->Create(sentence);
    ranks.back()->Write(sentence, created.range);
    EXPECT_EQ(ranks.back()->Seal(created.lease).is_visible, rank == 1);
    Reader reader(store_.get(), RequestOf({sentence}, 0));
    ASSERT_TRUE(reader.Finish().ok());
    // Nothing is visible until both are there.
    EXPECT_THAT(reader.blocks(), SizeIs(rank));
    if (rank == 0) continue;
    Reader other(store_.get(), RequestOf({sentence}, 1));
    ASSERT_TRUE(other.Finish().ok());
    ASSERT_THAT(other.blocks(), SizeIs(1));
    EXPECT_TRUE(IsIntact(sentence, hello, other.blocks()[0]));
  }
}

TEST_F(ReadTest, RequestsThatCannotBeAreRefused) {
  Start({.max_read_streams = 1});
  const std::vector<Sentence> chain = MakeChain(1, kMaxReadKeys + 1);
  const auto refused = [&](const v1::ReadRequest& request, milliseconds time, const char* text) {
    Reader reader(store_.get(), request, time);
    EXPECT_FALSE(reader.Read());
    const grpc::Status status = reader.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(text));
  };
  v1::ReadRequest other_layout = RequestOf({chain[0]});
  other_layout.mutable_keys(0)->set_layout("x");
  refused({}, seconds(10), "got 0, expected 1 to 256");
  refused(RequestOf(chain), seconds(10), "got 257, expected 1 to 256");
  refused(other_layout, seconds(10), "16");
  refused(RequestOf({chain[0]}), seconds(0), "needs a deadline, at most 60 s away");
  refused(RequestOf({chain[0]}), seconds(100), "needs a deadline, at most 60 s away");
  EXPECT_EQ(Gauges().num_reads, 0u);
  // In a layout, and of a rank, that nobody has.
  other_layout.mutable_keys(0)->set_layout(std::string(16, 'x'));
  other_layout.set_rank(UINT32_MAX);
  Reader unknown(store_.get(), other_layout);
  EXPECT_TRUE(unknown.Finish().ok());
  EXPECT_THAT(unknown.blocks(), IsEmpty());
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, ARequestOfOtherBytesIsRefused) {
  Start();
  grpc::GenericStub stub(
      grpc::CreateChannel(store_->address(), grpc::InsecureChannelCredentials()));
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    std::string bytes(random() % 100 + 1, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    if (v1::ReadRequest().ParseFromString(bytes)) continue;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + seconds(50));
    grpc::CompletionQueue queue;
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    const auto call =
        stub.PrepareUnaryCall(&context, "/skv.kvstore.v1.KvStore/Read", request, &queue);
    call->StartCall();
    grpc::ByteBuffer response;
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
  }
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, ACallThatIsCancelledHalfwayHoldsNothing) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(reader.Read());
  ASSERT_TRUE(reader.Read());
  EXPECT_EQ(Gauges().num_streams, 1u);
  EXPECT_EQ(Gauges().num_held_bytes, kNumLarge * (kLarge + 128));
  reader.Cancel();
  EXPECT_EQ(reader.Finish().error_code(), StatusCode::CANCELLED);
  ExpectNothingIsHeld();
  EXPECT_EQ(Gauges().num_sent_blocks, 0u);
}

TEST_F(ReadTest, ACallerThatStopsReadingIsCutOffAtItsDeadline) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_), milliseconds(500));
  ASSERT_TRUE(reader.Read());
  ASSERT_TRUE(reader.Read());
  EXPECT_EQ(Gauges().num_streams, 1u);
  ExpectNothingIsHeld();
  EXPECT_EQ(reader.Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ReadTest, WhatIsBeingSentStaysWhileOthersFillTheStore) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(reader.Read());
  ASSERT_TRUE(reader.Read());
  {
    const auto other = store_->Connect();
    EXPECT_EQ(other->Fill(1000, kLarge),
              static_cast<int>(kLargeArena / (kLarge + 128)) - kNumLarge);
    grpc::ClientContext context;
    v1::PurgeResponse purged;
    ASSERT_TRUE(store_->NewStub()->Purge(&context, {}, &purged).ok());
    EXPECT_EQ(purged.num_entries(), 0u);
  }
  ASSERT_TRUE(reader.Finish().ok());
  ExpectAreThose(reader.blocks(), chain_, kNumLarge);
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, MoreCallsThanMayBeAreRefusedUntilOneEnds) {
  StartWithLargeChain(/*max_read_streams=*/2);
  Reader first(store_.get(), RequestOf(chain_)), second(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(first.Read() && second.Read());
  {
    Reader third(store_.get(), RequestOf(chain_));
    const grpc::Status status = third.Finish();
    EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(status.error_message(), HasSubstr("--max-read-streams"));
  }
  EXPECT_EQ(Gauges().num_refused, 1u);
  ASSERT_TRUE(first.Finish().ok());
  EXPECT_TRUE(Eventually([&] { return Gauges().num_streams == 1; }));
  Reader third(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(third.Finish().ok());
  ExpectAreThose(third.blocks(), chain_, kNumLarge);
  second.Cancel();
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, ASlowReaderDoesNotHoldUpTheStore) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(reader.Read());
  for (int i = 100; i < 200; ++i) Store({MakeSentence(i)});
  EXPECT_EQ(Gauges().num_streams, 1u);
}

TEST_F(ReadTest, ManyReadersThatGoAwayAtAnyMomentLeaveNothing) {
  StartWithLargeChain(/*max_read_streams=*/8);
  std::vector<std::thread> threads;
  std::atomic<int> num_whole = 0;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 15; ++i) {
        Reader reader(store_.get(), RequestOf(chain_), milliseconds(1 + random() % 200));
        for (unsigned reads = random() % 40; reads > 0 && reader.Read();) --reads;
        if (random() % 2 == 0) reader.Cancel();
        if (reader.Finish().ok()) ++num_whole;
        for (size_t block = 0; block < reader.blocks().size(); ++block) {
          EXPECT_EQ(reader.blocks()[block].back(), chain_[block].fill);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectNothingIsHeld();
}

TEST_F(ReadTest, AStoreThatEndsCutsItsReadersOff) {
  StartWithLargeChain();
  Reader reader(store_.get(), RequestOf(chain_));
  ASSERT_TRUE(reader.Read());
  store_->StopGrpc();
  EXPECT_FALSE(reader.Finish().ok());
  EXPECT_TRUE(Eventually([&] { return store_->gauges().store.index.num_leases == 0; }));
  store_->StartGrpc();
  store_->StopSessions();
  Reader late(store_.get(), RequestOf(chain_));
  EXPECT_EQ(late.Finish().error_code(), StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace skv::kvstore
