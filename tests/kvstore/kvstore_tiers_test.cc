// The real skv-kvstore over a real folder and a real redis-server: what outlives a store that is
// killed, what another host finds, and that nobody waits for long for what does not answer.

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/http_get.h"
#include "common/process.h"
#include "common/testing/eventually.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/test_client.h"
#include "kvstore/tier/testing/redis_process.h"
#include "tests/e2e/testing/sanitizer_report.h"

namespace skv::kvstore {
namespace {

using testing::HasSubstr;

constexpr uint64_t kPayload = (64 << 10) - 128;
constexpr uint64_t kArenaBytes = 8 << 20;  // 128 such blocks
// A seek ends after 5 s; a store that is on the host answers within a few milliseconds.
constexpr double kMaxSeekSeconds = 8 * SKV_SLOWDOWN;

std::vector<Sentence> MakeLargeChain(int first_number, int length) {
  std::vector<Sentence> chain;
  for (int i = 0; i < length; ++i) {
    const Sentence* const parent = i == 0 ? nullptr : &chain.back();
    const Sentence sentence = MakeSentence(first_number + i, parent, kPayload);
    chain.push_back(sentence);
  }
  return chain;
}

// A store and its client; ends with SIGKILL.
class Store {
 public:
  Store(const std::string& folder, const std::string& name, std::vector<std::string> flags)
      : log_(absl::StrCat(folder, "/", name, ".log")), socket_(absl::StrCat(folder, "/", name)) {
    const char* const bin = std::getenv("SKV_BIN");
    std::filesystem::remove(log_);
    ChildOptions options{.args = {absl::StrCat(bin != nullptr ? bin : SKV_BIN_DIR, "/skv-kvstore"),
                                  "--socket", socket_, "--arena-bytes", absl::StrCat(kArenaBytes)},
                         .log_path = log_};
    options.args.insert(options.args.end(), flags.begin(), flags.end());
    child_ = ScopedChild::Start(options).value();
  }
  ~Store() {
    child_.reset();
    e2e::ExpectNoSanitizerReport("skv-kvstore", Output());
  }

  bool Serves() {
    if (!Eventually([&] { return Output().find("/metrics\n") != std::string::npos; })) return false;
    const std::string output = Output(), before = "metrics on http://127.0.0.1:";
    admin_port_ = std::atoi(output.c_str() + output.find(before) + before.size());
    client_ = std::make_unique<TestClient>(socket_);
    return true;
  }
  // -1: there is none.
  double Metric(const std::string& name, const std::string& tier) const {
    const std::string page = HttpGet("127.0.0.1", admin_port_, "/metrics", kPatience).value_or("");
    const size_t at =
        page.find(absl::StrCat("skv_kvstore_", name, "{role=\"kvstore\",tier=\"", tier, "\"} "));
    return at == std::string::npos ? -1 : std::atof(page.c_str() + page.find("} ", at) + 2);
  }
  bool WritesBehind(const std::string& tier, int num_entries) const {
    return Eventually([&] { return Metric("tier_written_entries_total", tier) >= num_entries; });
  }
  // Sealed, and held by nobody. The arena has room.
  void Keep(const std::vector<Sentence>& chain) {
    for (const Sentence& sentence : chain) {
      const auto kept = client_->Store(sentence);
      ASSERT_TRUE(kept.has_value());
      client_->Release(kept->lease);
    }
  }
  // How many of the chain are found, whole, by one who waits as long as there is something to wait
  // for.
  size_t Find(const std::vector<Sentence>& chain) {
    while (true) {
      const GetReply reply = client_->Get(KeysOf(chain));
      const size_t num_found = reply.blocks.size();
      for (size_t i = 0; i < num_found; ++i) {
        EXPECT_TRUE(client_->IsIntact(chain[i], reply.blocks[i])) << i;
      }
      if (num_found > 0) client_->Release(reply.lease);
      if (num_found == chain.size()) return num_found;
      const CreateReplyItem created = client_->Create(chain[num_found]);
      if (created.outcome == CreateOutcome::kExists) continue;
      if (created.outcome == CreateOutcome::kCreated) client_->Release(created.lease);
      if (created.outcome != CreateOutcome::kInProgress) return num_found;
      EXPECT_EQ(client_->Ask<WaitReply>(Wait{{chain.back().item.key}}), WaitReply{});
      const Frame frame = client_->Receive();
      EXPECT_TRUE(std::holds_alternative<Notice>(frame.body));
    }
  }
  double SecondsToFind(const std::vector<Sentence>& chain, size_t num_found) {
    const TimePoint start = RealClock().Now();
    EXPECT_EQ(Find(chain), num_found);
    return ToSeconds(RealClock().Now() - start);
  }

  std::string Output() const { return e2e::ReadFile(log_); }
  ScopedChild& child() { return *child_; }

 private:
  const std::string log_;
  const std::string socket_;
  std::unique_ptr<ScopedChild> child_;
  std::unique_ptr<TestClient> client_;
  int admin_port_ = 0;
};

class KvStoreTiersTest : public testing::Test {
 protected:
  KvStoreTiersTest() {
    char name[] = "/tmp/skv_kvstore_tiers_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  ~KvStoreTiersTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Store> Start(const std::string& name, const std::vector<std::string>& flags) {
    auto store = std::make_unique<Store>(folder_, name, flags);
    EXPECT_TRUE(store->Serves()) << store->Output();
    return store;
  }
  std::vector<std::string> Nvme() const {
    return {"--nvme-folder", folder_ + "/nvme", "--nvme-bytes", absl::StrCat(64 << 20)};
  }

  std::string folder_;
};

TEST_F(KvStoreTiersTest, AKilledStoreFindsItsBlocksAgain) {
  const std::vector<Sentence> chain = MakeLargeChain(1, 100);
  auto store = Start("s", Nvme());
  store->Keep(chain);
  ASSERT_TRUE(store->WritesBehind("nvme", 100));
  store.reset();  // SIGKILL

  store = Start("s", Nvme());
  EXPECT_EQ(store->Metric("tier_blocks", "nvme"), 100);
  const double seconds = store->SecondsToFind(chain, 100);
  RecordProperty("found_again_ms", static_cast<int>(1000 * seconds));
  // Counted once all are visible.
  EXPECT_TRUE(
      Eventually([&] { return store->Metric("tier_promoted_entries_total", "nvme") == 100; }));
  // A prompt that nobody has read.
  RecordProperty("cold_us",
                 static_cast<int>(1e6 * store->SecondsToFind(MakeLargeChain(1000, 100), 0)));
}

TEST_F(KvStoreTiersTest, WhatTheArenaEvictedIsFoundInTheFolder) {
  const std::vector<Sentence> chain = MakeLargeChain(1, 40);
  const auto store = Start("s", Nvme());
  store->Keep(chain);
  ASSERT_TRUE(store->WritesBehind("nvme", 40));
  for (int i = 0; i < 10; ++i) store->Keep(MakeLargeChain(100 + 100 * i, 40));
  EXPECT_EQ(store->Find(chain), 40u);
  EXPECT_TRUE(Eventually([&] { return store->Metric("tier_promoted_entries_total", "nvme") > 0; }));
}

TEST_F(KvStoreTiersTest, OneFolderIsOneStores) {
  const auto first = Start("s", Nvme());
  Store second(folder_, "t", Nvme());
  const auto state = second.child().Wait(kPatience);
  ASSERT_TRUE(state.has_value());
  EXPECT_THAT(second.Output(), HasSubstr("--nvme-folder"));
  EXPECT_THAT(second.Output(), HasSubstr("FAILED_PRECONDITION"));
}

TEST_F(KvStoreTiersTest, WhatOneHostWroteAnotherFindsInRedis) {
  RedisProcess redis(folder_);
  const std::vector<Sentence> chain = MakeLargeChain(1, 50);
  const auto first = Start("s", {"--redis", redis.address()});
  std::vector<std::string> flags = Nvme();
  flags.insert(flags.end(), {"--redis", redis.address()});
  auto second = Start("t", flags);
  first->Keep(chain);
  ASSERT_TRUE(first->WritesBehind("redis", 50));
  RecordProperty("found_ms", static_cast<int>(1000 * second->SecondsToFind(chain, 50)));
  EXPECT_TRUE(
      Eventually([&] { return second->Metric("tier_promoted_entries_total", "redis") == 50; }));
  // It has them in its own folder now.
  ASSERT_TRUE(second->WritesBehind("nvme", 50));
  redis.Kill();
  second = nullptr;
  second = Start("t", flags);
  EXPECT_EQ(second->Find(chain), 50u);
}

TEST_F(KvStoreTiersTest, ARedisThatStandsStillOrIsGoneHoldsNobodyUpForLong) {
  RedisProcess redis(folder_);
  const auto store = Start("s", {"--redis", redis.address()});
  const std::vector<Sentence> chain = MakeLargeChain(1, 20);
  store->Keep(chain);
  ASSERT_TRUE(store->WritesBehind("redis", 20));
  redis.Stop();
  EXPECT_LT(store->SecondsToFind(MakeLargeChain(1000, 20), 0), kMaxSeekSeconds);
  ASSERT_TRUE(Eventually([&] { return store->Metric("tier_on", "redis") == 0; }));
  // From here on nobody waits at all.
  EXPECT_LT(store->SecondsToFind(MakeLargeChain(2000, 20), 0), 0.1 * SKV_SLOWDOWN);
  EXPECT_EQ(store->Find(chain), 20u);
  const std::vector<Sentence> later = MakeLargeChain(3000, 20);
  store->Keep(later);
  redis.Kill();
  redis.Start();
  ASSERT_TRUE(Eventually([&] { return store->Metric("tier_on", "redis") == 1; }));
  EXPECT_TRUE(store->WritesBehind("redis", 40)) << "what was kept while it was away";
}

// Where the folder is full nothing is lost but the room for more.
TEST_F(KvStoreTiersTest, AFolderTooSmallForAllKeepsTheLatest) {
  const auto store =
      Start("s", {"--nvme-folder", folder_ + "/nvme", "--nvme-bytes", absl::StrCat(16 << 20)});
  for (int i = 0; i < 8; ++i) {
    store->Keep(MakeLargeChain(1 + 100 * i, 60));
    ASSERT_TRUE(store->WritesBehind("nvme", 60 * (i + 1)));
  }
  EXPECT_LE(store->Metric("tier_bytes", "nvme"), 16 << 20);
  EXPECT_GT(store->Metric("tier_evicted_blocks_total", "nvme"), 0);
  EXPECT_EQ(store->Find(MakeLargeChain(1, 60)), 0u);
  EXPECT_EQ(store->Find(MakeLargeChain(601, 60)), 60u);
}

}  // namespace
}  // namespace skv::kvstore
