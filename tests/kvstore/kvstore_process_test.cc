// The real skv-kvstore and real client processes: what becomes of the blocks of clients that are
// killed or stopped, and of the store when it is told to end.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
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

constexpr uint64_t kArenaBytes = 1 << 20;
constexpr uint64_t kLarge = (64 << 10) - 128;  // payload: sixteen fill the arena

// A client in a process of its own, which runs `act` and ends with what it returns. `act` and the
// test take turns: each tells the other to go on. Make them before the test has clients of its own,
// since the process has copies of their sockets.
class ClientProcess {
 public:
  explicit ClientProcess(const std::function<bool(const std::function<void()>& yield)>& act) {
    int to_client[2], to_test[2];
    EXPECT_EQ(pipe(to_client) + pipe(to_test), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(to_client[1]);
      close(to_test[0]);
      const bool is_right = act([&] {
        char byte = 0;
        const bool is_test_there =
            write(to_test[1], "x", 1) == 1 && read(to_client[0], &byte, 1) == 1;
        if (!is_test_there) _exit(2);
      });
      _exit(is_right ? 0 : 1);
    }
    close(to_client[0]);
    close(to_test[1]);
    write_ = to_client[1];
    read_ = to_test[0];
  }
  ~ClientProcess() {
    if (pid_ > 0) End(SIGKILL);
    close(read_);
    close(write_);
  }
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  void WaitForYield() {
    char byte = 0;
    EXPECT_EQ(read(read_, &byte, 1), 1) << "the client has ended";
  }
  void GoOn() { EXPECT_EQ(write(write_, "x", 1), 1); }
  void Signal(int signal) { EXPECT_EQ(kill(pid_, signal), 0); }
  // How it ended: 0 when all was right.
  int End(int signal = 0) {
    if (signal != 0) Signal(signal);
    int state = 0;
    EXPECT_EQ(waitpid(pid_, &state, 0), pid_);
    pid_ = 0;
    return state;
  }

 private:
  pid_t pid_ = 0;
  int read_ = -1;
  int write_ = -1;
};

class KvStoreProcessTest : public testing::Test {
 protected:
  KvStoreProcessTest() {
    char name[] = "/tmp/skv_kvstore_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  ~KvStoreProcessTest() override {
    if (store_ != nullptr) {
      store_->Terminate();
      EXPECT_TRUE(store_->Wait(kPatience).has_value());
    }
    e2e::ExpectNoSanitizerReport("skv-kvstore", Output());
    std::filesystem::remove_all(folder_);
  }

  std::unique_ptr<ScopedChild> Launch(std::map<std::string, std::string> flags) {
    flags.try_emplace("--socket", path_);
    flags.try_emplace("--arena-bytes", absl::StrCat(kArenaBytes));
    const char* const bin = std::getenv("SKV_BIN");
    ChildOptions options{.args = {absl::StrCat(bin != nullptr ? bin : SKV_BIN_DIR, "/skv-kvstore")},
                         .log_path = folder_ + "/log"};
    for (const auto& [name, value] : flags) options.args.insert(options.args.end(), {name, value});
    return ScopedChild::Start(options).value();
  }
  void Start() {
    store_ = Launch({});
    ASSERT_TRUE(Eventually([&] { return Output().find("/metrics\n") != std::string::npos; }))
        << Output();
    const std::string output = Output(), before = "metrics on http://127.0.0.1:";
    admin_port_ = std::atoi(output.c_str() + output.find(before) + before.size());
  }
  std::string Output() const { return e2e::ReadFile(folder_ + "/log"); }
  std::string Ask(const std::string& path) const {
    return HttpGet("127.0.0.1", admin_port_, path, kPatience).value_or("");
  }
  bool HasMetric(const std::string& series) const {
    return Ask("/metrics").find("skv_kvstore_" + series + "\n") != std::string::npos;
  }

  std::string folder_;
  std::string path_;
  std::unique_ptr<ScopedChild> store_;
  int admin_port_ = 0;
};

TEST_F(KvStoreProcessTest, TheUnsealedBlockOfAKilledWriterVanishes) {
  Start();
  const Sentence sentence = MakeSentence(1, nullptr, kLarge);
  ClientProcess writer([&](const auto& yield) -> bool {
    TestClient client(path_);
    const CreateReplyItem created = client.Create(sentence);
    // Half of it.
    client.PlaceOf({created.range.offset, created.range.num_bytes / 2})[0] = std::byte{1};
    while (true) yield();
  });
  writer.WaitForYield();
  TestClient client(path_);
  EXPECT_EQ(client.Create(sentence).outcome, CreateOutcome::kInProgress);
  EXPECT_EQ(client.Ask<WaitReply>(Wait{{sentence.item.key}}).code, StatusCode::kOk);
  EXPECT_TRUE(WIFSIGNALED(writer.End(SIGKILL)));
  EXPECT_EQ(client.Receive().body, FrameBody(Notice{.abandoned = {sentence.item.key}}));
  EXPECT_EQ(client.Get({sentence.item.key}), GetReply{});
  const auto stored = client.Store(sentence);
  ASSERT_TRUE(stored.has_value());
  EXPECT_TRUE(client.IsIntact(sentence, stored->range));
}

TEST_F(KvStoreProcessTest, WhatAStoppedClientHoldsStaysAsItWasWhileOthersFillTheStore) {
  Start();
  const Sentence unsealed = MakeSentence(5, nullptr, kLarge);
  ClientProcess holder([&](const auto& yield) {
    TestClient client(path_);
    std::vector<CreateReplyItem> held;
    for (int i = 1; i <= 4; ++i) {
      held.push_back(client.Store(MakeSentence(i, nullptr, kLarge)).value());
    }
    const CreateReplyItem created = client.Create(unsealed);
    yield();
    bool is_right = true;
    for (int i = 1; i <= 4; ++i) {
      is_right &= client.IsIntact(MakeSentence(i, nullptr, kLarge), held[i - 1].range);
    }
    client.Write(unsealed, created.range);
    is_right &= client.Seal(created.lease).is_visible;
    yield();
    return is_right;
  });
  holder.WaitForYield();
  holder.Signal(SIGSTOP);
  {
    TestClient other(path_);
    // The holder has five of the sixteen places.
    EXPECT_EQ(other.Fill(100, kLarge), 11);
  }
  TestClient other(path_);
  for (int i = 200; i < 300; ++i) {
    std::optional<CreateReplyItem> stored;
    ASSERT_TRUE(Eventually([&] {
      stored = other.Store(MakeSentence(i, nullptr, kLarge));
      return stored.has_value();
    }));
    EXPECT_EQ(other.Release(stored->lease), StatusCode::kOk);
  }
  holder.Signal(SIGCONT);
  holder.GoOn();
  holder.WaitForYield();
  EXPECT_TRUE(other.IsIntact(unsealed, other.Get({unsealed.item.key}).blocks.at(0)));
  holder.GoOn();
  EXPECT_EQ(holder.End(), 0);
  EXPECT_TRUE(Eventually([&] { return HasMetric("sessions{role=\"kvstore\"} 1"); }));
}

TEST_F(KvStoreProcessTest, AStoreThatIsToldToEndDoesSoWithClientsThatStandStill) {
  Start();
  ClientProcess stopped([&](const auto& yield) -> bool {
    TestClient client(path_);
    client.Store(MakeSentence(1));
    while (true) yield();
  });
  stopped.WaitForYield();
  stopped.Signal(SIGSTOP);
  TestClient client(path_);
  store_->Terminate();
  const std::optional<ExitState> end = store_->Wait(kPatience);
  ASSERT_TRUE(end.has_value());
  EXPECT_TRUE(end->ok()) << end->ToString() << "\n" << Output();
  EXPECT_THAT(client.TryReceive(), StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(KvStoreProcessTest, AnOperatorSeesThatItServesAndWhat) {
  Start();
  TestClient client(path_);
  ASSERT_TRUE(client.Store(MakeSentence(1)).has_value());
  EXPECT_THAT(Ask("/livez"), HasSubstr("ok"));
  EXPECT_THAT(Ask("/readyz"), HasSubstr("ok"));
  EXPECT_THAT(Ask("/version"), HasSubstr(absl::StrCat(store_->pid())));
  EXPECT_TRUE(Eventually([&] { return HasMetric("entries{role=\"kvstore\",state=\"sealed\"} 1"); }))
      << Ask("/metrics");
}

TEST_F(KvStoreProcessTest, WhatCannotStartSaysWhy) {
  const struct {
    std::map<std::string, std::string> flags;
    int code;
    const char* message;
  } kCases[] = {{{{"--tenant-quota", "batch"}}, 2, "--tenant-quota: 'batch', expected NAME=BYTES"},
                {{{"--tenant-quota", "a=1,a=2"}}, 2, "'a' has two quotas"},
                {{{"--tenant-quota", "batch=99999999999"}}, 2, "--tenant-quota: batch"},
                {{{"--socket", folder_ + "/no/s"}}, 2, "does not exist: create it"},
                {{{"--arena-bytes", "100000000000000"}}, 1, "--arena-bytes"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    std::filesystem::remove(folder_ + "/log");
    const auto child = Launch(c.flags);
    const auto end = child->Wait(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->code, c.code);
    EXPECT_THAT(Output(), HasSubstr(c.message));
  }
  Start();
  const auto second = Launch({});
  const auto end = second->Wait(kPatience);
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->code, 1);
  EXPECT_THAT(Output(), HasSubstr("a live process does"));
}

}  // namespace
}  // namespace skv::kvstore
