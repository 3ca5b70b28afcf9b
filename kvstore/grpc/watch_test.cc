// Watch of a real store: what is told to callers that read along, are cut off, come too late or do
// not read.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/testing/eventually.h"
#include "common/testing/fake_clock.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/grpc/testing/store_fixture.h"
#include "kvstore/watch/watch_client.h"
#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

using grpc::StatusCode;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::SizeIs;

// One Watch call, message by message.
class Reader {
 public:
  Reader(TestStore* store, const WatchPosition& position)
      : stub_(store->NewStub()), reader_(stub_->Watch(&context_, ToProto(position))) {}
  ~Reader() {
    context_.TryCancel();
    if (!is_finished_) Finish();
  }

  // nullopt: the call has ended.
  std::optional<WatchMessage> TryRead() {
    v1::WatchResponse response;
    if (!reader_->Read(&response)) return std::nullopt;
    return FromProto(response).value();
  }
  WatchMessage Read() { return TryRead().value(); }
  // Pages and events up to the snapshot's end; where to go on from there.
  WatchPosition ReadSnapshot() {
    WatchMessage message = Read();
    EXPECT_TRUE(message.is_page && message.is_first);
    while (!message.is_last) message = Read();
    return {message.epoch, message.next_sequence};
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() {
    is_finished_ = true;
    while (TryRead().has_value()) {
    }
    return reader_->Finish();
  }

 private:
  const std::unique_ptr<v1::KvStore::Stub> stub_;
  grpc::ClientContext context_;
  const std::unique_ptr<grpc::ClientReader<v1::WatchResponse>> reader_;
  bool is_finished_ = false;
};

class WatchTest : public testing::Test {
 protected:
  void Start(const TestStoreOptions& options = {}) {
    store_ = std::make_unique<TestStore>(options);
  }
  // Sealed, and in the end held by nobody. Each is held until the next is there, which may be its
  // child.
  static void Store(TestClient* client, const std::vector<Sentence>& sentences) {
    std::optional<LeaseHandle> held;
    for (const Sentence& sentence : sentences) {
      const auto stored = client->Store(sentence);
      ASSERT_TRUE(stored.has_value());
      if (held.has_value()) {
        EXPECT_EQ(client->Release(*held), absl::StatusCode::kOk);
      }
      held = stored->lease;
    }
    EXPECT_EQ(client->Release(*held), absl::StatusCode::kOk);
  }
  void Purge() {
    const auto stub = store_->NewStub();
    grpc::ClientContext context;
    v1::PurgeResponse response;
    EXPECT_TRUE(stub->Purge(&context, {}, &response).ok());
  }
  std::unique_ptr<WatchClient> Follow(MirrorSet* mirror) const {
    return std::make_unique<WatchClient>(
        WatchClientOptions{.address = store_->address(), .max_backoff = milliseconds(200)}, mirror);
  }
  bool ComesToMirror(const MirrorSet& mirror) {
    return Eventually([&] { return mirror.keys() == store_->Announced(); });
  }

  // The only reader takes nothing: appends events until gRPC's windows are full and the stream does
  // not get on for a while.
  void Block() {
    int num_still = 0;
    ASSERT_TRUE(Eventually([&] {
      const bool is_still = store_->grpc().service().watch_gauges().max_lag >= 500;
      num_still = is_still ? num_still + 1 : 0;
      if (!is_still) store_->events().Append(std::vector<EntryEvent>(100));
      return num_still > 200;
    }));
  }

  FakeClock clock_;
  std::unique_ptr<TestStore> store_;
};

TEST_F(WatchTest, ASnapshotThenEventsInOrder) {
  Start();
  const auto client = store_->Connect();
  const std::vector<Sentence> chain = MakeChain(1, 5);
  Store(client.get(), chain);
  Reader reader(store_.get(), {});
  const WatchMessage page = reader.Read();
  EXPECT_TRUE(page.is_page && page.is_first && page.is_last);
  EXPECT_THAT(page.events, SizeIs(5));
  EXPECT_EQ(page.next_sequence, 6u);

  Store(client.get(), {MakeSentence(100)});
  const WatchMessage sealed = reader.Read();
  EXPECT_EQ(sealed.first_sequence, 6u);
  ASSERT_THAT(sealed.events, SizeIs(1));
  EXPECT_EQ(sealed.events[0].key.prefix, MakeSentence(100).item.key);
  EXPECT_EQ(sealed.events[0].kind, EntryEvent::Kind::kSealed);

  Purge();
  std::vector<EntryEvent> evicted;
  for (uint64_t next = 7; evicted.size() < 6;) {
    const WatchMessage message = reader.Read();
    EXPECT_EQ(message.first_sequence, next);
    next = message.next_sequence;
    for (const EntryEvent& event : message.events) {
      EXPECT_EQ(event.kind, EntryEvent::Kind::kEvicted);
      evicted.push_back(event);
    }
  }
  EXPECT_THAT(evicted, SizeIs(6));
}

TEST_F(WatchTest, AMirrorEqualsTheStoreWhateverGoesOnMeanwhile) {
  // A hundredth of what is written fits: nearly everything is evicted, some of it while a snapshot
  // is read.
  Start({.arena_bytes = 64 << 10, .watch_stride = 3});
  std::vector<std::thread> writers;
  writers.reserve(3);
  for (int i = 0; i < 3; ++i) {
    writers.emplace_back([this, i] {
      const auto client = store_->Connect();
      for (int j = 0; j < 300; ++j) Store(client.get(), MakeChain(1 + 1000 * (300 * i + j), 7));
    });
  }
  MirrorSet first, second;
  const auto follows = Follow(&first);
  ASSERT_TRUE(Eventually([&] { return store_->gauges().store.index.num_evicted > 1000; }));
  const auto comes_later = Follow(&second);
  for (std::thread& writer : writers) writer.join();
  EXPECT_TRUE(ComesToMirror(first));
  EXPECT_TRUE(ComesToMirror(second));
  EXPECT_FALSE(first.keys().empty());
  for (const auto* client : {&follows, &comes_later}) {
    const WatchClientStatus status = (*client)->status();
    EXPECT_TRUE(status.is_complete);
    EXPECT_EQ(status.num_snapshots, 1u) << status.last_error.ToString();
  }
  // Nothing was told twice, or out of order.
  EXPECT_EQ(first.num_unknown_removals() + second.num_unknown_removals(), 0);
}

TEST_F(WatchTest, GoesOnAfterItWasCutOff) {
  Start();
  const auto client = store_->Connect();
  Store(client.get(), MakeChain(1, 5));
  MirrorSet mirror;
  const auto follows = Follow(&mirror);
  ASSERT_TRUE(ComesToMirror(mirror));
  store_->StopGrpc();
  Store(client.get(), MakeChain(100, 5));
  store_->StartGrpc();
  EXPECT_TRUE(ComesToMirror(mirror));
  EXPECT_THAT(mirror.keys(), SizeIs(10));
  EXPECT_EQ(follows->status().num_snapshots, 1u);
  EXPECT_GE(follows->status().num_calls, 2u);
  EXPECT_EQ(mirror.num_unknown_removals(), 0);
}

TEST_F(WatchTest, TakesASnapshotWhereTheLogHasForgottenTooMuch) {
  Start({.max_watch_events = 8});
  const auto client = store_->Connect();
  Store(client.get(), MakeChain(1, 5));
  MirrorSet mirror;
  const auto follows = Follow(&mirror);
  ASSERT_TRUE(ComesToMirror(mirror));
  Purge();
  ASSERT_TRUE(ComesToMirror(mirror));
  Store(client.get(), MakeChain(50, 3));
  ASSERT_TRUE(ComesToMirror(mirror));
  store_->StopGrpc();
  Store(client.get(), MakeChain(100, 20));
  store_->StartGrpc();
  EXPECT_TRUE(ComesToMirror(mirror));
  EXPECT_THAT(mirror.keys(), SizeIs(23));
  EXPECT_EQ(follows->status().num_snapshots, 2u);
}

TEST_F(WatchTest, AStoreThatWasStartedAnewIsMirroredAnew) {
  Start();
  Store(store_->Connect().get(), MakeChain(1, 5));
  MirrorSet mirror;
  const auto follows = Follow(&mirror);
  ASSERT_TRUE(ComesToMirror(mirror));
  const int port = store_->port();
  store_.reset();
  EXPECT_THAT(mirror.keys(), SizeIs(5)) << "what is known of a store outlives its calls";
  Start({.port = port});
  // As many events as before: their numbers alone would go on.
  Store(store_->Connect().get(), MakeChain(100, 5));
  EXPECT_TRUE(ComesToMirror(mirror));
  EXPECT_THAT(mirror.keys(), SizeIs(5));
  EXPECT_EQ(follows->status().num_snapshots, 2u);
}

TEST_F(WatchTest, AReaderThatIsTooSlowIsToldAndMayComeAgain) {
  Start({.max_watch_events = 2000});
  Reader slow(store_.get(), {});
  WatchPosition position = slow.ReadSnapshot();
  Block();
  store_->events().Append(std::vector<EntryEvent>(3000));
  uint64_t num_read = 0;
  while (const auto message = slow.TryRead()) {
    num_read += message->events.size();
    position.next_sequence = message->next_sequence;
  }
  EXPECT_GT(num_read, 0u);
  const grpc::Status status = slow.Finish();
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("too slowly"));
  EXPECT_TRUE(
      Eventually([&] { return store_->grpc().service().watch_gauges().num_too_slow == 1; }));
  Reader again(store_.get(), position);
  again.ReadSnapshot();
}

TEST_F(WatchTest, AReaderThatTakesNothingForAMinuteIsCutOff) {
  // A log that holds all that Block appends, also while the pump waits for a processor.
  Start({.max_watch_events = 1 << 18, .clock = &clock_});
  Reader stuck(store_.get(), {});
  stuck.ReadSnapshot();
  Block();
  EXPECT_EQ(store_->grpc().service().watch_gauges().num_streams, 1u);
  // Minute after minute: of a write that was only slow, the next one begins to wait anew.
  EXPECT_TRUE(Eventually([&] {
    clock_.Advance(WatchStream::kMaxWriteTime);
    return store_->grpc().service().watch_gauges().num_streams == 0;
  }));
  EXPECT_EQ(stuck.Finish().error_code(), StatusCode::CANCELLED);
}

TEST_F(WatchTest, SessionsAreServedBetweenThePagesOfALargeSnapshot) {
  constexpr int kNumEntries = 100'000, kBatch = 1000;
  Start({.arena_bytes = 20 << 20, .max_entries = 1 << 17});
  const auto client = store_->Connect();
  for (int first = 1; first < kNumEntries; first += kBatch) {
    std::vector<Sentence> batch;
    Create create;
    for (int i = 0; i < kBatch; ++i) {
      batch.push_back(MakeSentence(first + i));
      create.items.push_back(batch.back().item);
    }
    const CreateReply created = client->Ask<CreateReply>(create);
    Seal seal;
    Release release;
    for (int i = 0; i < kBatch; ++i) {
      client->Write(batch[i], created.items[i].range);
      seal.items.push_back({.lease = created.items[i].lease});
      release.leases.push_back(created.items[i].lease);
    }
    client->Ask<SealReply>(seal);
    client->Ask<ReleaseReply>(release);
  }
  std::atomic<bool> is_read{false};
  int num_requests = 0;
  Duration longest{};
  std::thread asks([&] {
    while (!is_read) {
      const TimePoint begin = RealClock().Now();
      client->Get({MakeSentence(-1).item.key});
      longest = std::max(longest, RealClock().Now() - begin);
      ++num_requests;
    }
  });
  Reader reader(store_.get(), {});
  size_t num_entries = 0;
  int num_pages = 0;
  for (bool is_last = false; !is_last; ++num_pages) {
    const WatchMessage page = reader.Read();
    EXPECT_LE(page.events.size(), StoreAdmin::kMaxSnapshotEntries);
    num_entries += page.events.size();
    is_last = page.is_last;
  }
  is_read = true;
  asks.join();
  EXPECT_EQ(num_entries, static_cast<size_t>(kNumEntries));
  EXPECT_EQ(num_pages, kNumEntries / static_cast<int>(StoreAdmin::kMaxSnapshotEntries) + 1);
  EXPECT_GT(num_requests, num_pages / 2);
  RecordProperty("requests", num_requests);
  RecordProperty("longest_us", static_cast<int>(ToSeconds(longest) * 1e6));
}

TEST_F(WatchTest, CallsBeyondTheMostAreRefusedUntilOneEnds) {
  Start({.max_watch_streams = 1});
  auto first = std::make_unique<Reader>(store_.get(), WatchPosition{});
  first->ReadSnapshot();
  const grpc::Status refused = Reader(store_.get(), {}).Finish();
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("--max-watch-streams"));
  EXPECT_EQ(store_->grpc().service().watch_gauges().num_refused, 1u);
  first->Cancel();
  EXPECT_TRUE(Eventually([&] { return Reader(store_.get(), {}).TryRead().has_value(); }));
}

TEST_F(WatchTest, AnEpochOfAnotherLengthIsRefused) {
  Start();
  const auto stub = store_->NewStub();
  grpc::ClientContext context;
  v1::WatchRequest request;
  request.set_epoch("abc");
  const auto reader = stub->Watch(&context, request);
  v1::WatchResponse response;
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(WatchTest, AStoreThatStopsEndsItsCalls) {
  Start();
  Reader reader(store_.get(), {});
  reader.ReadSnapshot();
  store_->grpc().Stop();
  const grpc::Status status = reader.Finish();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("stopping"));
}

TEST_F(WatchTest, AStoreThatStopsDoesNotWaitForAReaderThatIsStuck) {
  Start({.max_watch_events = 2000});
  Reader stuck(store_.get(), {});
  stuck.ReadSnapshot();
  Block();
  store_->grpc().Stop();
  EXPECT_FALSE(stuck.Finish().ok());
}

TEST_F(WatchTest, AClientOfNobodyTriesAndEndsAtOnce) {
  Start();
  store_->StopGrpc();
  MirrorSet mirror;
  const auto follows = Follow(&mirror);
  EXPECT_TRUE(Eventually([&] { return follows->status().num_calls >= 2; }));
  EXPECT_FALSE(follows->status().is_complete);
  EXPECT_EQ(follows->status().last_error.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace skv::kvstore
