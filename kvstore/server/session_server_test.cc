#include "kvstore/server/session_server.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/testing/eventually.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/arena/arena.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/server/testing/test_client.h"
#include "kvstore/session/socket_address.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr uint64_t kArenaBytes = 1 << 20;
constexpr uint64_t kLarge = (64 << 10) - 128;  // payload: sixteen fill the arena

void RaiseDescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

class SessionServerTest : public testing::Test {
 protected:
  SessionServerTest() {
    char name[] = "/tmp/skv_server_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
    options_.handler.max_clients = 1100;
  }
  ~SessionServerTest() override {
    Stop();
    std::filesystem::remove_all(folder_);
  }

  void Start() {
    arena_ = Arena::Create({.num_bytes = kArenaBytes, .spare_bytes = 0}, RealClock()).value();
    BlockStoreOptions store;
    store.index.capacity_bytes = static_cast<int64_t>(arena_->num_bytes());
    store.index.max_entries = store.index.max_shards = 1 << 14;
    store.index.leases.max_sessions = max_sessions_ + 1;
    store_ = std::make_unique<BlockStore>(store, CreateS3FifoOrder(store.index.order()),
                                          arena_->Bytes(0, arena_->num_bytes()));
    options_.arena_fd = arena_->fd();
    options_.handler.arena_bytes = arena_->num_bytes();
    server_ = SessionServer::Create(options_, SessionListener::Listen(path_).value(), store_.get(),
                                    &status_)
                  .value();
    thread_ = std::thread([this] { EXPECT_OK(server_->Run()); });
  }
  void Stop() {
    if (!thread_.joinable()) return;
    server_->Stop();
    thread_.join();
    server_.reset();
  }
  std::unique_ptr<TestClient> Connect() { return std::make_unique<TestClient>(path_); }
  bool HasSessions(uint32_t count) {
    return Eventually([&] { return status_.gauges().sessions.num_sessions == count; });
  }
  // Of the server's thread.
  double CpuSeconds() {
    clockid_t clock = {};
    timespec time = {};
    EXPECT_EQ(pthread_getcpuclockid(thread_.native_handle(), &clock), 0);
    EXPECT_EQ(clock_gettime(clock, &time), 0);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  SessionSocket ConnectSilently() {
    return SessionSocket::Connect(path_, RealClock().Now() + std::chrono::seconds(20)).value();
  }
  // What comes after an Error, which has this code.
  static void ExpectEnd(TestClient* client, StatusCode code, const std::string& message) {
    const Frame frame = client->Receive();
    ASSERT_TRUE(std::holds_alternative<Error>(frame.body)) << FrameName(frame.body);
    EXPECT_EQ(std::get<Error>(frame.body).code, code);
    EXPECT_THAT(std::get<Error>(frame.body).message, HasSubstr(message));
    EXPECT_THAT(client->TryReceive(), StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  }

  std::string folder_;
  std::string path_;
  uint32_t max_sessions_ = 1024;
  SessionServerOptions options_;
  ServerStatus status_{&RealClock()};
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<SessionServer> server_;
  std::thread thread_;
};

TEST_F(SessionServerTest, WhatOneClientWritesTheOtherReads) {
  Start();
  const auto writer = Connect(), reader = Connect();
  const std::vector<Sentence> chain = MakeChain(1, 20);
  for (const Sentence& sentence : chain) ASSERT_TRUE(writer->Store(sentence).has_value());
  const GetReply got = reader->Get(KeysOf(chain));
  ASSERT_EQ(got.blocks.size(), chain.size());
  for (size_t i = 0; i < chain.size(); ++i) EXPECT_TRUE(reader->IsIntact(chain[i], got.blocks[i]));
  EXPECT_EQ(reader->Release(got.lease), StatusCode::kOk);
}

TEST_F(SessionServerTest, ASecondWriterWaitsForTheFirstOrItsDeath) {
  Start();
  auto writer = Connect();
  const auto second = Connect();
  const Sentence sealed = MakeSentence(1), abandoned = MakeSentence(2);
  const CreateReplyItem created = writer->Create(sealed);
  writer->Create(abandoned);
  EXPECT_EQ(second->Create(sealed).outcome, CreateOutcome::kInProgress);
  const Wait wait{{sealed.item.key, abandoned.item.key}};
  EXPECT_EQ(second->Ask<WaitReply>(wait).code, StatusCode::kOk);

  writer->Write(sealed, created.range);
  EXPECT_TRUE(writer->Seal(created.lease).is_visible);
  EXPECT_EQ(second->Receive().body, FrameBody(Notice{.sealed = {sealed.item.key}}));
  EXPECT_TRUE(second->IsIntact(sealed, second->Get({sealed.item.key}).blocks.at(0)));

  writer.reset();
  EXPECT_EQ(second->Receive().body, FrameBody(Notice{.abandoned = {abandoned.item.key}}));
  EXPECT_EQ(second->Create(abandoned).outcome, CreateOutcome::kCreated);
}

TEST_F(SessionServerTest, TheLeasesOfAClosedClientFreeTheirMemory) {
  Start();
  auto holder = Connect();
  const auto other = Connect();
  EXPECT_EQ(holder->Fill(1, kLarge), 16);
  EXPECT_EQ(other->Create(MakeSentence(99, nullptr, kLarge)).code, StatusCode::kResourceExhausted);
  holder.reset();
  ASSERT_TRUE(HasSessions(1));
  EXPECT_EQ(other->Fill(100, kLarge), 16);
}

TEST_F(SessionServerTest, AnErrorSessionKeepsItsLeasesUntilItCloses) {
  Start();
  auto confused = Connect();
  const auto other = Connect();
  EXPECT_EQ(confused->Fill(1, kLarge), 16);
  ASSERT_OK(confused->socket().Send("nonsense", RealClock().Now() + std::chrono::seconds(20)));
  ExpectEnd(confused.get(), StatusCode::kInvalidArgument, "session frame");
  // Nothing more of it is heard: not this release of all that it holds, nor what follows.
  for (uint64_t i = 0; i < 1000; ++i) {
    const std::string frame =
        EncodeFrame({1, Release{{LeaseHandle{i | uint64_t{1} << 32}}}}).value();
    const auto sent = confused->socket().TrySend(frame);
    if (!sent.ok() || !*sent) break;
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(other->Create(MakeSentence(99, nullptr, kLarge)).code,
              StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(status_.gauges().sessions.num_sessions, 2u);
  confused.reset();
  ASSERT_TRUE(HasSessions(1));
  EXPECT_EQ(other->Fill(100, kLarge), 16);
}

TEST_F(SessionServerTest, WhatIsNoEndOfFileEndsNoLease) {
  Start();
  const auto other = Connect();
  const std::pair<const char*, std::function<void(int)>> kCases[] = {
      {"an empty packet", [](int fd) { EXPECT_EQ(send(fd, "", 0, MSG_NOSIGNAL), 0); }},
      {"a client that does not listen", [](int fd) {
         EXPECT_EQ(shutdown(fd, SHUT_RD), 0);
         const std::string get = EncodeFrame({1, Get{{MakeSentence(1).item.key}}}).value();
         EXPECT_GT(send(fd, get.data(), get.size(), MSG_NOSIGNAL), 0);
       }}};
  for (const auto& [why, act] : kCases) {
    SCOPED_TRACE(why);
    auto holder = Connect();
    EXPECT_EQ(holder->Fill(1, kLarge), 16);
    act(holder->socket().fd());
    // Two turns of the server at least.
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(other->Create(MakeSentence(99, nullptr, kLarge)).code,
                StatusCode::kResourceExhausted);
    }
    EXPECT_EQ(status_.gauges().sessions.num_sessions, 2u);
    holder.reset();
    ASSERT_TRUE(HasSessions(1));
    const GetReply left = other->Get({MakeSentence(1, nullptr, kLarge).item.key});
    EXPECT_EQ(left.blocks.size(), 1u);
    EXPECT_EQ(other->Release(left.lease), StatusCode::kOk);
    // Evicts what this case has left behind.
    Connect()->Fill(1000, kLarge);
    ASSERT_TRUE(HasSessions(1));
  }
}

TEST_F(SessionServerTest, ADescriptorFromAClientIsAnError) {
  Start();
  const auto client = Connect();
  const std::string get = EncodeFrame({1, Get{{MakeSentence(1).item.key}}}).value();
  ASSERT_TRUE(client->socket().TrySend(get, /*passed_fd=*/0).value());
  ExpectEnd(client.get(), StatusCode::kInvalidArgument, "descriptors, expected none");
}

TEST_F(SessionServerTest, LeasesOfOthersCannotBeForged) {
  Start();
  const auto owner = Connect(), forger = Connect();
  const CreateReplyItem block = owner->Store(MakeSentence(1)).value();
  EXPECT_EQ(forger->Release(block.lease), StatusCode::kInvalidArgument);
  EXPECT_EQ(forger->Seal(block.lease).code, StatusCode::kInvalidArgument);
  EXPECT_EQ(owner->Release(block.lease), StatusCode::kOk);
}

TEST_F(SessionServerTest, AClientThatNeverReadsHoldsUpNobodyAndLosesNothing) {
  Start();
  const auto deaf = Connect(), other = Connect();
  const std::vector<Sentence> chain = MakeChain(1, 4000);
  for (const Sentence& sentence : chain) {
    const auto stored = deaf->Store(sentence);
    ASSERT_TRUE(stored.has_value());
    EXPECT_EQ(deaf->Release(stored->lease), StatusCode::kOk);
  }
  const FrameBody get = Get{KeysOf(chain)};  // its reply takes 64 KB
  uint64_t num_sent = 0;
  const auto is_full = [&] {
    const auto sent = deaf->socket().TrySend(EncodeFrame({num_sent + 1, get}).value());
    if (sent.value()) ++num_sent;
    return !*sent;
  };
  // Full once the store has stopped to read, too: then nothing is taken for a while.
  uint64_t num_before = 0;
  do {
    num_before = num_sent;
    ASSERT_TRUE(Eventually(is_full));
    std::this_thread::sleep_for(milliseconds(20));
  } while (num_sent != num_before);
  EXPECT_EQ(other->Get({chain[0].item.key}).blocks.size(), 1u);
  for (uint64_t i = 1; i <= num_sent; ++i) {
    const Frame reply = deaf->Receive();
    EXPECT_EQ(reply.request_id, i);
    EXPECT_EQ(std::get<GetReply>(reply.body).blocks.size(), chain.size());
  }
}

TEST_F(SessionServerTest, AThousandClientsAreServedAndLeaveNothingBehind) {
  RaiseDescriptorLimit();
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < 2300) GTEST_SKIP() << "this process may have few descriptors";
  Start();
  const auto writer = Connect();
  const Sentence sentence = MakeSentence(1);
  ASSERT_TRUE(writer->Store(sentence).has_value());
  std::vector<std::unique_ptr<TestClient>> clients;
  clients.reserve(1000);
  for (int i = 0; i < 1000; ++i) clients.push_back(Connect());
  for (const auto& client : clients) {
    const GetReply got = client->Get({sentence.item.key});
    ASSERT_EQ(got.blocks.size(), 1u);
    EXPECT_TRUE(client->IsIntact(sentence, got.blocks[0]));
  }
  ASSERT_TRUE(HasSessions(1001));
  const auto has_leases = [&](uint64_t count) {
    return Eventually([&] { return status_.gauges().store.index.num_leases == count; });
  };
  EXPECT_TRUE(has_leases(1001));
  clients.clear();
  ASSERT_TRUE(HasSessions(1));
  EXPECT_TRUE(has_leases(1));
}

TEST_F(SessionServerTest, SessionsBeyondTheLimitAreRefusedWithAReason) {
  max_sessions_ = 2;
  Start();
  const auto first = Connect();
  auto second = Connect();
  SessionSocket third = ConnectSilently();
  const TimePoint soon = RealClock().Now() + std::chrono::seconds(120);
  ASSERT_OK(third.Send(EncodeFrame({0, TestHello()}).value(), soon));
  const auto buffer = std::make_unique<FrameBuffer>();
  ASSERT_OK_AND_ASSIGN(const std::string_view bytes, third.Receive(*buffer, soon));
  EXPECT_EQ(std::get<Error>(DecodeFrame(bytes).value().body).code, StatusCode::kResourceExhausted);
  second.reset();
  ASSERT_TRUE(HasSessions(1));
  Connect();
}

TEST_F(SessionServerTest, NewClientsWaitWhileAllPlacesAreTaken) {
  options_.handler.max_clients = 2;
  Start();
  const auto first = Connect();
  auto second = std::make_optional(ConnectSilently());
  std::thread waiting([&] { EXPECT_EQ(Connect()->welcome().arena_bytes, kArenaBytes); });
  EXPECT_TRUE(Eventually([&] { return status_.gauges().num_accept_pauses > 0; }));
  second.reset();
  waiting.join();
}

TEST_F(SessionServerTest, NewClientsWaitWhileNoDescriptorIsLeft) {
  Start();
  Descriptor client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const sockaddr_un address = SocketAddress(path_).value();
  rlimit old_limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(Eventually([&] { return status_.gauges().num_accept_pauses > 0; }));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old_limit), 0);
  EXPECT_TRUE(Eventually([&] { return status_.gauges().sessions.num_clients == 1; }));
}

// It may know other blocks, which would fail only when they are sealed.
TEST_F(SessionServerTest, AClientOfAnotherVersionIsRefusedAtItsHello) {
  Start();
  SessionSocket old = ConnectSilently();
  std::string hello = EncodeFrame({.body = TestHello()}).value();
  constexpr size_t kVersionAt = 20;
  ASSERT_EQ(hello[kVersionAt], static_cast<char>(kSessionVersion));
  hello[kVersionAt] = static_cast<char>(kSessionVersion - 1);
  const TimePoint soon = RealClock().Now() + std::chrono::seconds(20);
  ASSERT_OK(old.Send(hello, soon));
  const auto buffer = std::make_unique<FrameBuffer>();
  ASSERT_OK_AND_ASSIGN(const auto received, old.ReceiveWelcome(*buffer, soon));
  EXPECT_FALSE(received.descriptor.is_open());
  ASSERT_OK_AND_ASSIGN(const Frame frame, DecodeFrame(received.frame));
  ASSERT_TRUE(std::holds_alternative<Error>(frame.body)) << FrameName(frame.body);
  EXPECT_THAT(std::get<Error>(frame.body).message, HasSubstr("hello: version is 2, expected 3"));
}

TEST_F(SessionServerTest, ClientsThatStandStillCostNoTime) {
  options_.handler.max_clients = 4;
  Start();
  const auto confused = Connect(), deaf = Connect(), closed = Connect();
  const TimePoint soon = RealClock().Now() + std::chrono::seconds(20);
  ASSERT_OK(confused->socket().Send("nonsense", soon));
  ExpectEnd(confused.get(), StatusCode::kInvalidArgument, "session frame");
  ASSERT_OK(confused->socket().Send("more of it", soon));
  std::vector<PrefixKey> keys(4000);
  while (deaf->socket().TrySend(EncodeFrame({1, Wait{keys}}).value()).value()) {
  }
  ASSERT_EQ(shutdown(closed->socket().fd(), SHUT_RD), 0);
  ASSERT_OK(closed->socket().Send(EncodeFrame({1, Get{keys}}).value(), soon));
  const SessionSocket fourth = ConnectSilently(), fifth = ConnectSilently();
  ASSERT_TRUE(Eventually([&] { return status_.gauges().num_accept_pauses > 0; }));
  // A loop that spins would take all of this.
  const double before = CpuSeconds();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(CpuSeconds() - before, 0.1);
}

TEST_F(SessionServerTest, WhoSaysNothingIsClosedUnlessItHasASession) {
  options_.greeting_timeout = milliseconds(20);
  Start();
  const auto client = Connect();
  SessionSocket silent = ConnectSilently();
  const auto buffer = std::make_unique<FrameBuffer>();
  EXPECT_THAT(silent.Receive(*buffer, RealClock().Now() + std::chrono::seconds(120)),
              StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  EXPECT_EQ(client->Get({MakeSentence(1).item.key}), GetReply{});
}

TEST_F(SessionServerTest, CommandsAndSessionsTakeTurns) {
  EventFeed events(100);
  CommandQueue commands(10);
  options_.handler.events = &events;
  options_.commands = &commands;
  const TimePoint late = RealClock().Now() + std::chrono::seconds(1200);
  EXPECT_THAT(commands.Submit(late, {}), StatusIs(StatusCode::kUnavailable, HasSubstr("starting")));
  Start();
  ASSERT_TRUE(Eventually([&] { return status_.CheckReady().ok(); }));
  const auto client = Connect();
  const CreateReplyItem stored = client->Store(MakeSentence(1)).value();
  EXPECT_EQ(client->Release(stored.lease), StatusCode::kOk);
  EXPECT_EQ(events.next_sequence(), 2u);

  // Each submits the next, without an end.
  absl::Status end;
  uint64_t num_run = 0;
  CommandQueue::Command again = [&](const absl::StatusOr<StoreAdmin*>& admin) {
    ++num_run;
    const absl::Status next = admin.ok() ? commands.Submit(late, again) : admin.status();
    if (!next.ok()) end = next;
  };
  ASSERT_OK(commands.Submit(late, again));
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(client->Release(client->Get({MakeSentence(1).item.key}).lease), StatusCode::kOk);
  }
  // What a command does to the store is told.
  ASSERT_OK(commands.Submit(late, [](absl::StatusOr<StoreAdmin*> admin) {
    EXPECT_EQ((*admin)->Purge(std::nullopt, 10).num_entries, 1u);
  }));
  EXPECT_TRUE(Eventually([&] { return events.next_sequence() == 3; }));
  Stop();
  EXPECT_THAT(end, StatusIs(StatusCode::kUnavailable, HasSubstr("stopping")));
  EXPECT_GT(num_run, 1u);
}

TEST_F(SessionServerTest, AServerThatStopsIsNotReadyAndEndsItsSessions) {
  Start();
  ASSERT_TRUE(Eventually([&] { return status_.CheckReady().ok(); }));
  EXPECT_OK(status_.CheckLive(std::chrono::seconds(120)));
  const auto client = Connect();
  Stop();
  EXPECT_THAT(status_.CheckReady(), StatusIs(StatusCode::kUnavailable, HasSubstr("stopping")));
  EXPECT_THAT(client->TryReceive(), StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
}

}  // namespace
}  // namespace skv::kvstore
