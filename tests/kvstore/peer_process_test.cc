// Two real skv-kvstore: what one has is found through the other, whatever happens to the first.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/http_get.h"
#include "common/process.h"
#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/server/testing/test_client.h"
#include "tests/e2e/testing/sanitizer_report.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr uint64_t kArenaBytes = 160 << 20;
constexpr uint64_t kLarge = (2 << 20) - 128;
constexpr int kNumLarge = 64;
// A seek ends after 5 s, whatever its tiers do; then it is a miss.
constexpr std::chrono::seconds kSeekTime{5};

std::vector<Sentence> MakeLargeChain(int first_number, int length) {
  std::vector<Sentence> chain;
  for (int i = 0; i < length; ++i) {
    const Sentence sentence =
        MakeSentence(first_number + i, i == 0 ? nullptr : &chain.back(), kLarge);
    chain.push_back(sentence);
  }
  return chain;
}

class StoreProcess {
 public:
  StoreProcess(const std::string& folder, const std::vector<std::string>& flags) : folder_(folder) {
    std::filesystem::create_directory(folder);
    const char* const bin = std::getenv("SKV_BIN");
    ChildOptions options{.args = {absl::StrCat(bin != nullptr ? bin : SKV_BIN_DIR, "/skv-kvstore"),
                                  "--socket", path(), "--arena-bytes", absl::StrCat(kArenaBytes)},
                         .log_path = folder + "/log"};
    options.args.insert(options.args.end(), flags.begin(), flags.end());
    child_ = ScopedChild::Start(options).value();
  }
  ~StoreProcess() {
    child_->Terminate();
    EXPECT_TRUE(child_->Wait(kPatience).has_value());
    e2e::ExpectNoSanitizerReport("skv-kvstore", Output());
  }
  StoreProcess(const StoreProcess&) = delete;
  StoreProcess& operator=(const StoreProcess&) = delete;

  std::string path() const { return folder_ + "/s"; }
  std::string Output() const { return e2e::ReadFile(folder_ + "/log"); }
  bool IsReady() const { return Output().find("/metrics\n") != std::string::npos; }
  // Of what it says it listens on.
  int PortAfter(const std::string& text) const {
    const std::string output = Output(), before = text + "127.0.0.1:";
    return std::atoi(output.c_str() + output.find(before) + before.size());
  }
  std::string grpc_address() const { return absl::StrCat("127.0.0.1:", PortAfter("gRPC on ")); }
  // Of a series of metrics; 0 where there is none.
  double Metric(const std::string& series) const {
    const std::string text =
        HttpGet("127.0.0.1", PortAfter("metrics on http://"), "/metrics", kPatience).value_or("");
    const size_t at = text.find("\nskv_kvstore_" + series);
    return at == std::string::npos ? 0 : std::atof(text.c_str() + text.find(' ', at + 1));
  }
  ScopedChild& child() { return *child_; }

 private:
  const std::string folder_;
  std::unique_ptr<ScopedChild> child_;
};

class PeerProcessTest : public testing::Test {
 protected:
  PeerProcessTest() {
    char name[] = "/tmp/skv_peers_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    first_ = std::make_unique<StoreProcess>(folder_ + "/first", std::vector<std::string>());
    EXPECT_TRUE(Eventually([&] { return first_->IsReady(); })) << first_->Output();
    second_ = std::make_unique<StoreProcess>(
        folder_ + "/second", std::vector<std::string>{"--peers", first_->grpc_address()});
    EXPECT_TRUE(Eventually([&] { return second_->IsReady(); })) << second_->Output();
    peer_ = absl::StrCat("role=\"kvstore\",tier=\"peer:", first_->grpc_address(), "\"}");
  }
  ~PeerProcessTest() override {
    second_.reset();
    first_.reset();
    std::filesystem::remove_all(folder_);
  }
  void StoreInFirst(const std::vector<Sentence>& chain) {
    TestClient client(first_->path());
    for (const Sentence& sentence : chain) {
      const auto stored = client.Store(sentence);
      ASSERT_TRUE(stored.has_value());
      ASSERT_EQ(client.Release(stored->lease), StatusCode::kOk);
    }
  }
  // How many the second store has now; it begins to seek the rest. All that it has must be whole.
  static size_t NumFound(TestClient* client, const std::vector<Sentence>& chain) {
    const GetReply reply = client->Get(KeysOf(chain));
    for (size_t i = 0; i < reply.blocks.size(); ++i) {
      EXPECT_TRUE(client->IsIntact(chain[i], reply.blocks[i])) << i;
    }
    if (!reply.blocks.empty()) {
      EXPECT_EQ(client->Release(reply.lease), StatusCode::kOk);
    }
    return reply.blocks.size();
  }
  double PeerMetric(const std::string& name) const {
    return second_->Metric(absl::StrCat("tier_", name, "{", peer_));
  }
  void ExpectTheFirstHoldsNothing() {
    EXPECT_TRUE(Eventually([&] { return first_->Metric("read_streams") == 0; }));
    EXPECT_TRUE(Eventually([&] { return first_->Metric("leases") == 0; }));
  }
  // Who asked for what is not found any more may write it itself, before long.
  static void ExpectCanBeWritten(TestClient* client, const Sentence& sentence) {
    const TimePoint begin = RealClock().Now();
    CreateReplyItem created;
    EXPECT_TRUE(Eventually([&] {
      created = client->Create(sentence);
      return created.outcome == CreateOutcome::kCreated;
    }));
    EXPECT_LT(RealClock().Now() - begin, SKV_SLOWDOWN * (kSeekTime + std::chrono::seconds(3)));
    client->Write(sentence, created.range);
    EXPECT_TRUE(client->Seal(created.lease).is_visible);
  }

  std::string folder_;
  std::unique_ptr<StoreProcess> first_, second_;
  std::string peer_;
};

TEST_F(PeerProcessTest, WhatOneStoreHasIsFoundThroughTheOther) {
  const std::vector<Sentence> chain = MakeChain(1, 300), large = MakeLargeChain(1000, 16);
  StoreInFirst(chain);
  StoreInFirst(large);
  TestClient client(second_->path());
  EXPECT_TRUE(Eventually([&] { return NumFound(&client, chain) == 300; }));
  EXPECT_TRUE(Eventually([&] { return NumFound(&client, large) == 16; }));
  EXPECT_EQ(PeerMetric("promoted_entries_total"), 316);
  EXPECT_EQ(PeerMetric("read_bytes_total"), 300 * 192 + 16 * (kLarge + 128));
  // Nothing goes to a peer, and nothing waits to.
  EXPECT_EQ(PeerMetric("written_entries_total"), 0);
  EXPECT_EQ(PeerMetric("dropped_entries_total"), 0);
  EXPECT_EQ(first_->Metric("sent_blocks_total"), 316);
  ExpectTheFirstHoldsNothing();
}

TEST_F(PeerProcessTest, WhatNeitherHasIsAMissAtOnce) {
  TestClient client(second_->path());
  const Sentence sentence = MakeSentence(1);
  EXPECT_EQ(NumFound(&client, {sentence}), 0u);
  ExpectCanBeWritten(&client, sentence);
  EXPECT_GE(PeerMetric("misses_total"), 1);
  EXPECT_EQ(PeerMetric("on"), 1);
}

TEST_F(PeerProcessTest, StoresThatAreEachOthersPeersDoNotGoInCircles) {
  // The second has the first as its peer; a third has itself and the second.
  StoreProcess third(folder_ + "/third",
                     {"--port", "0", "--peers", second_->grpc_address() + ",127.0.0.1:1"});
  ASSERT_TRUE(Eventually([&] { return third.IsReady(); }));
  const std::vector<Sentence> chain = MakeChain(1, 10);
  StoreInFirst(chain);
  TestClient client(third.path());
  EXPECT_EQ(NumFound(&client, chain), 0u);
  ExpectCanBeWritten(&client, chain[0]);
  EXPECT_EQ(second_->Metric("seeks_total"), 0);
}

TEST_F(PeerProcessTest, APeerThatIsKilledHalfwayIsAMissBeforeLong) {
  const std::vector<Sentence> chain = MakeLargeChain(1, kNumLarge);
  StoreInFirst(chain);
  TestClient client(second_->path());
  NumFound(&client, chain);
  EXPECT_TRUE(Eventually([&] { return PeerMetric("read_bytes_total") > 0; }));
  first_->child().Signal(SIGKILL);
  size_t num_found = 0;
  EXPECT_TRUE(Eventually([&] {
    num_found = NumFound(&client, chain);
    return num_found == chain.size() || PeerMetric("on") == 0;
  }));
  if (num_found < chain.size()) ExpectCanBeWritten(&client, MakeSentence(1000));
}

TEST_F(PeerProcessTest, APeerThatStandsStillHalfwayIsAMissBeforeLong) {
  const std::vector<Sentence> chain = MakeLargeChain(1, kNumLarge);
  StoreInFirst(chain);
  TestClient client(second_->path());
  NumFound(&client, chain);
  EXPECT_TRUE(Eventually([&] { return PeerMetric("read_bytes_total") > 0; }));
  first_->child().Signal(SIGSTOP);
  const std::vector<Sentence> other = MakeLargeChain(1000, 2);
  EXPECT_EQ(NumFound(&client, other), 0u);
  ExpectCanBeWritten(&client, other[0]);
  // And when it goes on, so does all else.
  first_->child().Signal(SIGCONT);
  EXPECT_TRUE(Eventually([&] { return NumFound(&client, chain) == chain.size(); }));
  ExpectTheFirstHoldsNothing();
}

TEST_F(PeerProcessTest, AReaderThatIsKilledOrStandsStillHoldsNothingForLong) {
  const std::vector<Sentence> chain = MakeLargeChain(1, kNumLarge);
  StoreInFirst(chain);
  {
    TestClient client(second_->path());
    NumFound(&client, chain);
    EXPECT_TRUE(Eventually([&] { return PeerMetric("read_bytes_total") > 0; }));
    second_->child().Signal(SIGSTOP);
    ExpectTheFirstHoldsNothing();
    second_->child().Signal(SIGKILL);
  }
  ExpectTheFirstHoldsNothing();
}

TEST_F(PeerProcessTest, PeersThatCannotBeAreRefused) {
  std::string many = "h:1";
  for (int i = 2; i <= 17; ++i) absl::StrAppend(&many, ",h:", i);
  const std::pair<std::string, const char*> kCases[] = {
      {"host", "--peers: peer: 'host', expected HOST:PORT"},
      {"a:1,a:1", "named twice"},
      {many, "--peers: 17 addresses, at most 16"}};
  int number = 0;
  for (const auto& [peers, message] : kCases) {
    StoreProcess store(absl::StrCat(folder_, "/refused", number++), {"--peers", peers});
    const auto end = store.child().Wait(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code, 2);
    EXPECT_THAT(store.Output(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace skv::kvstore
