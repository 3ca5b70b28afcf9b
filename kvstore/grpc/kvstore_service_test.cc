// Administration through gRPC, of a real store.

#include "kvstore/grpc/kvstore_service.h"

#include <set>
#include <string>
#include <vector>

#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "kvstore/grpc/testing/store_fixture.h"
#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

constexpr int64_t kSmall = 192;  // bytes of MakeSentence(n)

class KvStoreServiceTest : public testing::Test {
 protected:
  void Start(const TestStoreOptions& options = {}) {
    store_ = std::make_unique<TestStore>(options);
    stub_ = store_->NewStub();
  }
  // Sealed, and held by nobody.
  void Store(TestClient* client, const std::vector<Sentence>& sentences) {
    for (const Sentence& sentence : sentences) {
      const auto stored = client->Store(sentence);
      ASSERT_TRUE(stored.has_value());
      EXPECT_EQ(client->Release(stored->lease), absl::StatusCode::kOk);
    }
  }
  static v1::Key KeyOf(const Sentence& sentence) {
    return ToProto(EntryKey{sentence.item.key, TestHello().layout});
  }
  v1::Stats Stats() {
    grpc::ClientContext context;
    v1::Stats stats;
    EXPECT_TRUE(stub_->GetStats(&context, {}, &stats).ok());
    return stats;
  }
  std::vector<v1::Entry> List(uint32_t page_size, int* num_pages) {
    std::vector<v1::Entry> entries;
    v1::ListEntriesRequest request;
    request.set_page_size(page_size);
    do {
      grpc::ClientContext context;
      v1::ListEntriesResponse page;
      EXPECT_TRUE(stub_->ListEntries(&context, request, &page).ok());
      entries.insert(entries.end(), page.entries().begin(), page.entries().end());
      request.set_page_token(page.next_page_token());
      ++*num_pages;
    } while (request.page_token() != 0);
    return entries;
  }
  grpc::Status Pin(const v1::Key& key, uint32_t seconds) {
    grpc::ClientContext context;
    v1::PinRequest request;
    *request.mutable_key() = key;
    request.set_seconds(seconds);
    v1::PinResponse response;
    return stub_->Pin(&context, request, &response);
  }
  grpc::Status Unpin(const v1::Key& key) {
    grpc::ClientContext context;
    v1::UnpinRequest request;
    *request.mutable_key() = key;
    v1::UnpinResponse response;
    return stub_->Unpin(&context, request, &response);
  }
  grpc::Status Purge(std::optional<std::string> tenant, v1::PurgeResponse* response) {
    grpc::ClientContext context;
    v1::PurgeRequest request;
    if (tenant.has_value()) request.set_tenant(*tenant);
    return stub_->Purge(&context, request, response);
  }

  std::unique_ptr<TestStore> store_;
  std::unique_ptr<v1::KvStore::Stub> stub_;
};

TEST_F(KvStoreServiceTest, StatsTellWhatThereIsAndMayBe) {
  Start({.max_watch_events = 100, .quotas = {{"batch", 10 * kSmall}}});
  const auto client = store_->Connect({.client_name = "test", .tenant = "batch"});
  Store(client.get(), MakeChain(1, 3));
  const v1::Stats stats = Stats();
  EXPECT_EQ(stats.epoch().size(), 16u);
  EXPECT_EQ(stats.arena_bytes(), 1u << 20);
  EXPECT_EQ(stats.live_bytes(), 3u * kSmall);
  EXPECT_EQ(stats.num_sealed_entries(), 3u);
  EXPECT_EQ(stats.max_entries(), 1u << 14);
  EXPECT_EQ(stats.num_sessions(), 1u);
  EXPECT_EQ(stats.max_pins(), 2u);
  EXPECT_EQ(stats.num_watch_events(), 3u);
  EXPECT_EQ(stats.max_watch_events(), 100u);
  EXPECT_EQ(stats.watch_stride(), 1u);
  ASSERT_EQ(stats.tenants_size(), 2);
  EXPECT_EQ(stats.tenants(1).name(), "batch");
  EXPECT_EQ(stats.tenants(1).bytes(), 3 * kSmall);
  EXPECT_EQ(stats.tenants(1).quota_bytes(), 10 * kSmall);
}

TEST_F(KvStoreServiceTest, AllEntriesAreListedPageByPage) {
  Start();
  const auto client = store_->Connect();
  const std::vector<Sentence> chain = MakeChain(1, 25);
  Store(client.get(), chain);
  ASSERT_TRUE(Pin(KeyOf(chain[3]), 60).ok());
  const GetReply held = client->Get({chain[0].item.key});
  int num_pages = 0;
  const std::vector<v1::Entry> entries = List(10, &num_pages);
  EXPECT_EQ(num_pages, 3);
  ASSERT_EQ(entries.size(), chain.size());
  std::set<std::string> prefixes;
  for (const v1::Entry& entry : entries) {
    prefixes.insert(entry.key().prefix());
    EXPECT_EQ(entry.state(), v1::Entry::SEALED);
    EXPECT_EQ(entry.bytes(), kSmall);
    const Sentence& sentence = chain[entry.depth()];
    EXPECT_EQ(entry.key().prefix(), KeyOf(sentence).prefix());
    EXPECT_EQ(entry.parent_prefix(),
              entry.depth() == 0 ? "" : KeyOf(chain[entry.depth() - 1]).prefix());
    EXPECT_EQ(entry.num_leases(), entry.depth() == 0 ? 1u : 0u);
    EXPECT_EQ(entry.pinned_seconds() > 0, entry.depth() == 3);
    EXPECT_LE(entry.pinned_seconds(), 60);
  }
  EXPECT_EQ(prefixes.size(), chain.size());
}

TEST_F(KvStoreServiceTest, APinnedChainSurvivesAPurge) {
  Start();
  const auto client = store_->Connect();
  const std::vector<Sentence> chain = MakeChain(1, 5);
  Store(client.get(), chain);
  ASSERT_TRUE(Pin(KeyOf(chain[1]), 3600).ok());
  v1::PurgeResponse purged;
  ASSERT_TRUE(Purge(std::nullopt, &purged).ok());
  EXPECT_EQ(purged.num_entries(), 3u);
  EXPECT_EQ(purged.bytes(), 3u * kSmall);
  EXPECT_EQ(Stats().num_pins(), 1u);
  ASSERT_TRUE(Unpin(KeyOf(chain[1])).ok());
  ASSERT_TRUE(Purge(std::nullopt, &purged).ok());
  EXPECT_EQ(purged.num_entries(), 2u);
  EXPECT_EQ(Stats().num_entries(), 0u);
  EXPECT_EQ(client->Create(chain[0]).outcome, CreateOutcome::kCreated);
}

TEST_F(KvStoreServiceTest, PinsThatCannotBeAreRefused) {
  Start();
  const auto client = store_->Connect();
  const std::vector<Sentence> chain = MakeChain(1, 3);
  Store(client.get(), chain);
  v1::Key short_key = KeyOf(chain[0]);
  short_key.set_layout("x");
  EXPECT_EQ(Pin(short_key, 60).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Unpin(short_key).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Pin(KeyOf(MakeSentence(99)), 60).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Unpin(KeyOf(chain[0])).error_code(), StatusCode::NOT_FOUND);
  for (const uint32_t seconds : {0u, kMaxPinSeconds + 1, UINT32_MAX}) {
    const grpc::Status status = Pin(KeyOf(chain[0]), seconds);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("expected 1 to 86400"));
  }
  EXPECT_TRUE(Pin(KeyOf(chain[0]), 60).ok());
  EXPECT_TRUE(Pin(KeyOf(chain[1]), 60).ok());
  EXPECT_EQ(Pin(KeyOf(chain[2]), 60).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(KvStoreServiceTest, APinEndsInTimeWithNobodyCreating) {
  Start();
  const auto client = store_->Connect();
  Store(client.get(), MakeChain(1, 1));
  ASSERT_TRUE(Pin(KeyOf(MakeSentence(1)), 1).ok());
  EXPECT_EQ(Stats().num_pins(), 1u);
  EXPECT_TRUE(Eventually([&] { return store_->gauges().store.index.num_pins == 0; }));
}

TEST_F(KvStoreServiceTest, OneTenantIsPurgedAndTheOthersStay) {
  Start({.quotas = {{"batch", 100 * kSmall}}});
  const auto common = store_->Connect();
  const auto batch = store_->Connect({.client_name = "test", .tenant = "batch"});
  Store(common.get(), MakeChain(1, 5));
  Store(batch.get(), MakeChain(100, 7));
  v1::PurgeResponse purged;
  const grpc::Status unknown = Purge("nobody", &purged);
  EXPECT_EQ(unknown.error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.error_message(), HasSubstr("nobody"));
  ASSERT_TRUE(Purge("batch", &purged).ok());
  EXPECT_EQ(purged.num_entries(), 7u);
  ASSERT_TRUE(Purge("", &purged).ok());
  EXPECT_EQ(purged.num_entries(), 5u);
}

TEST_F(KvStoreServiceTest, WhoWaitsForAKeyIsToldWhileOthersAsk) {
  Start();
  const auto writer = store_->Connect(), waiter = store_->Connect();
  const Sentence sentence = MakeSentence(1);
  const CreateReplyItem created = writer->Create(sentence);
  EXPECT_EQ(waiter->Ask<WaitReply>(Wait{{sentence.item.key}}).code, absl::StatusCode::kOk);
  v1::PurgeResponse purged;
  ASSERT_TRUE(Purge(std::nullopt, &purged).ok());
  EXPECT_EQ(purged.num_entries(), 0u);
  writer->Write(sentence, created.range);
  EXPECT_TRUE(writer->Seal(created.lease).is_visible);
  EXPECT_EQ(waiter->Receive().body, FrameBody(Notice{.sealed = {sentence.item.key}}));
}

TEST_F(KvStoreServiceTest, AStoreThatHasStoppedRefusesEverything) {
  Start();
  store_->StopSessions();
  grpc::ClientContext context;
  v1::Stats stats;
  EXPECT_EQ(stub_->GetStats(&context, {}, &stats).error_code(), StatusCode::UNAVAILABLE);
  v1::PurgeResponse purged;
  EXPECT_EQ(Purge(std::nullopt, &purged).error_code(), StatusCode::UNAVAILABLE);
  grpc::ClientContext watch_context;
  v1::WatchResponse message;
  const auto reader = stub_->Watch(&watch_context, {});
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(KvStoreServiceTest, HealthSaysWhatTheProcessSays) {
  Start();
  const auto health = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(store_->address(), grpc::InsecureChannelCredentials()));
  const auto check = [&health] {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(health->Check(&context, {}, &response).ok());
    return response.status();
  };
  EXPECT_EQ(check(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  store_->grpc().SetServing(true);
  EXPECT_EQ(check(), grpc::health::v1::HealthCheckResponse::SERVING);
}

TEST_F(KvStoreServiceTest, APortInUseIsNamed) {
  Start();
  EventFeed feed(1);
  CommandQueue commands(1);
  CommandStoreOwner owner(&commands);
  EXPECT_THAT(KvStoreServer::Start({.port = store_->port()}, &feed, &commands, &owner).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("--port")));
}

}  // namespace
}  // namespace skv::kvstore
