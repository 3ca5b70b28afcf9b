#include "kvstore/session/session_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/session/session_listener.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using testing::HasSubstr;

TimePoint In(int ms) { return RealClock().Now() + milliseconds(ms); }
// Long enough for whatever does come.
TimePoint Soon() { return In(20000); }

int NumDescriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// A packet with `fds` in it, as no SessionSocket would send it.
void SendRaw(int socket, std::string_view bytes, std::vector<int> fds) {
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ASSERT_EQ(sendmsg(socket, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

class SessionSocketTest : public testing::Test {
 protected:
  SessionSocketTest() {
    char name[] = "/tmp/skv_session_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  ~SessionSocketTest() override { std::filesystem::remove_all(folder_); }

  struct Pair {
    SessionSocket store;
    SessionSocket client;
  };
  static Pair MakePair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    return {SessionSocket(Descriptor(fds[0])), SessionSocket(Descriptor(fds[1]))};
  }

  // What a store that was killed leaves behind.
  void LeaveStaleSocket() {
    const pid_t child = fork();
    if (child == 0) {
      auto listener = SessionListener::Listen(path_);
      _exit(listener.ok() ? 0 : 1);
    }
    int state = 0;
    ASSERT_EQ(waitpid(child, &state, 0), child);
    ASSERT_EQ(state, 0);
    ASSERT_TRUE(std::filesystem::exists(path_));
  }

  std::string folder_;
  std::string path_;
  std::unique_ptr<FrameBuffer> buffer_ = std::make_unique<FrameBuffer>();
};

TEST_F(SessionSocketTest, FramesArriveWholeAndInOrder) {
  ASSERT_OK_AND_ASSIGN(SessionListener listener, SessionListener::Listen(path_));
  ASSERT_OK_AND_ASSIGN(auto none, listener.TryAccept());
  EXPECT_FALSE(none.has_value());
  ASSERT_OK_AND_ASSIGN(SessionSocket client, SessionSocket::Connect(path_, Soon()));
  ASSERT_OK(PollUntil(listener.fd(), POLLIN, Soon()));
  ASSERT_OK_AND_ASSIGN(auto accepted, listener.TryAccept());
  ASSERT_TRUE(accepted.has_value());
  ASSERT_OK_AND_ASSIGN(auto nothing, accepted->TryReceive(*buffer_));
  EXPECT_FALSE(nothing.has_value());
  ASSERT_OK(client.Send("one", Soon()));
  ASSERT_OK(client.Send("and two", Soon()));
  ASSERT_OK_AND_ASSIGN(auto first, accepted->TryReceive(*buffer_));
  EXPECT_EQ(first, "one");
  ASSERT_OK_AND_ASSIGN(const std::string_view second, accepted->Receive(*buffer_, Soon()));
  EXPECT_EQ(second, "and two");
  ASSERT_OK(accepted->Send("three", Soon()));
  ASSERT_OK_AND_ASSIGN(const std::string_view third, client.Receive(*buffer_, Soon()));
  EXPECT_EQ(third, "three");
}

TEST_F(SessionSocketTest, TheKernelSaysWhoThePeerIs) {
  ASSERT_OK_AND_ASSIGN(SessionListener listener, SessionListener::Listen(path_));
  ASSERT_OK_AND_ASSIGN(SessionSocket client, SessionSocket::Connect(path_, Soon()));
  ASSERT_OK_AND_ASSIGN(auto accepted, listener.TryAccept());
  ASSERT_TRUE(accepted.has_value());
  ASSERT_OK_AND_ASSIGN(const PeerCredentials peer, accepted->peer_credentials());
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(peer.uid, geteuid());
  EXPECT_EQ(peer.gid, getegid());
}

TEST_F(SessionSocketTest, APassedDescriptorIsTheSameMemory) {
  const Descriptor memory(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(memory.get(), 4096), 0);
  Pair pair = MakePair();
  ASSERT_OK(pair.store.Send("welcome", Soon(), memory.get()));
  ASSERT_OK_AND_ASSIGN(auto received, pair.client.ReceiveWelcome(*buffer_, Soon()));
  EXPECT_EQ(received.frame, "welcome");
  ASSERT_TRUE(received.descriptor.is_open());
  EXPECT_NE(received.descriptor.get(), memory.get());
  EXPECT_EQ(fcntl(received.descriptor.get(), F_GETFD), FD_CLOEXEC);
  const auto map = [](int fd) {
    return static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  };
  char* ours = map(memory.get());
  char* theirs = map(received.descriptor.get());
  ASSERT_NE(ours, MAP_FAILED);
  ASSERT_NE(theirs, MAP_FAILED);
  std::strcpy(ours + 100, "written by the store");
  EXPECT_STREQ(theirs + 100, "written by the store");
  munmap(ours, 4096);
  munmap(theirs, 4096);
}

TEST_F(SessionSocketTest, AWelcomeMayComeWithoutADescriptor) {
  Pair pair = MakePair();
  ASSERT_OK(pair.store.Send("error", Soon()));
  ASSERT_OK_AND_ASSIGN(auto received, pair.client.ReceiveWelcome(*buffer_, Soon()));
  EXPECT_EQ(received.frame, "error");
  EXPECT_FALSE(received.descriptor.is_open());
}

TEST_F(SessionSocketTest, UnexpectedDescriptorsNeverStay) {
  const Descriptor file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Pair pair = MakePair();
  const int before = NumDescriptors();
  for (const int count : {1, 2, 3, 100}) {
    SCOPED_TRACE(count);
    const std::vector<int> fds(count, file.get());
    SendRaw(pair.client.fd(), "frame", fds);
    EXPECT_THAT(pair.store.TryReceive(*buffer_),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("descriptors, expected none")));
    SendRaw(pair.client.fd(), "frame", fds);
    EXPECT_THAT(pair.store.Receive(*buffer_, Soon()),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("descriptors, expected none")));
    if (count > 1) {
      SendRaw(pair.store.fd(), "frame", fds);
      EXPECT_THAT(pair.client.ReceiveWelcome(*buffer_, Soon()),
                  StatusIs(StatusCode::kInvalidArgument, HasSubstr("several descriptors")));
    }
    EXPECT_EQ(NumDescriptors(), before);
  }
}

TEST_F(SessionSocketTest, ADescriptorWithoutAPlaceIsAnError) {
  const Descriptor file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Pair pair = MakePair();
  rlimit old_limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  ASSERT_OK(pair.store.Send("welcome", Soon(), file.get()));
  // Looked up here: UBSan checks the fixture's type through a pipe, and there are none below.
  FrameBuffer& buffer = *buffer_;
  rlimit limit = old_limit;
  limit.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto received = pair.client.ReceiveWelcome(buffer, Soon());
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old_limit), 0);
  EXPECT_THAT(received, StatusIs(StatusCode::kInvalidArgument, HasSubstr("process's limit")));
}

TEST_F(SessionSocketTest, AFrameAtTheCapPassesAndOneByteMoreDoesNot) {
  Pair pair = MakePair();
  const std::string longest(kMaxFrameBytes, 'x');
  ASSERT_OK(pair.client.Send(longest, Soon()));
  ASSERT_OK_AND_ASSIGN(const std::string_view received, pair.store.Receive(*buffer_, Soon()));
  EXPECT_EQ(received, longest);
  EXPECT_THAT(
      pair.client.Send(longest + "x", Soon()),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 65537 bytes, expected 1 to 65536")));
  EXPECT_THAT(pair.client.TrySend(""),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 0 bytes")));
  SendRaw(pair.client.fd(), longest + "x", {});
  EXPECT_THAT(pair.store.Receive(*buffer_, Soon()),
              StatusIs(StatusCode::kInvalidArgument,
                       HasSubstr("frame of 65537 bytes, expected at most 65536")));
}

TEST_F(SessionSocketTest, ASilentPeerCostsNoMoreThanTheDeadline) {
  Pair pair = MakePair();
  const TimePoint begin = RealClock().Now();
  EXPECT_THAT(pair.client.Receive(*buffer_, In(50)),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("session socket: receive")));
  EXPECT_GE(RealClock().Now() - begin, milliseconds(50));
  EXPECT_THAT(pair.client.ReceiveWelcome(*buffer_, TimePoint::min()),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("receive")));
  ASSERT_OK(pair.store.Send("late", TimePoint::min()));
  ASSERT_OK_AND_ASSIGN(const std::string_view frame, pair.client.Receive(*buffer_, Soon()));
  EXPECT_EQ(frame, "late");
}

TEST_F(SessionSocketTest, ASlowReaderIsWaitedForUntilTheDeadline) {
  Pair pair = MakePair();
  const std::string frame(kMaxFrameBytes, 'x');
  int num_sent = 0;
  while (true) {
    ASSERT_OK_AND_ASSIGN(const bool is_sent, pair.store.TrySend(frame));
    if (!is_sent) break;
    ASSERT_LT(++num_sent, 100);
  }
  EXPECT_GE(num_sent, 2);
  EXPECT_THAT(pair.store.Send(frame, In(20)),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("session socket: send")));
  for (int i = 0; i < num_sent; ++i) ASSERT_OK(pair.client.Receive(*buffer_, Soon()));
  EXPECT_OK(pair.store.Send(frame, Soon()));
}

TEST_F(SessionSocketTest, APeerThatDiesIsUnavailable) {
  Pair pair = MakePair();
  const pid_t child = fork();
  if (child == 0) {
    const auto sent = pair.client.Send("last words", Soon());
    pause();
    _exit(sent.ok());
  }
  { const SessionSocket closed_here = std::move(pair.client); }
  ASSERT_OK(pair.store.Send("never read", Soon()));
  ASSERT_OK_AND_ASSIGN(const std::string_view frame, pair.store.Receive(*buffer_, Soon()));
  EXPECT_EQ(frame, "last words");
  ASSERT_EQ(kill(child, SIGKILL), 0);
  EXPECT_THAT(pair.store.Receive(*buffer_, Soon()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  EXPECT_THAT(pair.store.Send("hello?", Soon()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  EXPECT_THAT(pair.store.TryReceive(*buffer_),
              StatusIs(StatusCode::kUnavailable, HasSubstr("closed")));
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(SessionSocketTest, NobodyListensWhereAStoreDied) {
  EXPECT_THAT(SessionSocket::Connect(path_, Soon()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("no store listens there")));
  LeaveStaleSocket();
  EXPECT_THAT(SessionSocket::Connect(path_, Soon()),
              StatusIs(StatusCode::kUnavailable, HasSubstr("no store listens there")));
}

TEST_F(SessionSocketTest, ConnectingWaitsWhileTheQueueIsFull) {
  Descriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path_.c_str());
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  ASSERT_OK_AND_ASSIGN(const SessionSocket first, SessionSocket::Connect(path_, Soon()));
  EXPECT_THAT(SessionSocket::Connect(path_, In(50)),
              StatusIs(StatusCode::kDeadlineExceeded, HasSubstr("connect to ")));
}

TEST_F(SessionSocketTest, AStaleSocketIsReplacedAndALiveOneIsNot) {
  LeaveStaleSocket();
  ASSERT_OK_AND_ASSIGN(SessionListener listener, SessionListener::Listen(path_));
  EXPECT_THAT(SessionListener::Listen(path_),
              StatusIs(StatusCode::kAlreadyExists, HasSubstr("a live process does")));
  EXPECT_OK(SessionSocket::Connect(path_, Soon()));
}

TEST_F(SessionSocketTest, OnlyTheOwnerMayConnectUnlessToldOtherwise) {
  const auto mode = [&] {
    struct stat info = {};
    EXPECT_EQ(lstat(path_.c_str(), &info), 0);
    return info.st_mode & 0777;
  };
  const mode_t old_mask = umask(077);
  {
    ASSERT_OK_AND_ASSIGN(const SessionListener listener, SessionListener::Listen(path_));
    EXPECT_EQ(mode(), 0600u);
  }
  ASSERT_OK_AND_ASSIGN(const SessionListener listener, SessionListener::Listen(path_, 0660));
  EXPECT_EQ(mode(), 0660u);
  umask(old_mask);
}

TEST_F(SessionSocketTest, AListenerRemovesItsOwnFileOnly) {
  { ASSERT_OK(SessionListener::Listen(path_)); }
  EXPECT_FALSE(std::filesystem::exists(path_));
  auto first = SessionListener::Listen(path_);
  ASSERT_OK(first);
  std::filesystem::remove(path_);
  ASSERT_OK_AND_ASSIGN(const SessionListener second, SessionListener::Listen(path_));
  first = absl::CancelledError();
  EXPECT_OK(SessionSocket::Connect(path_, Soon()));
}

TEST_F(SessionSocketTest, APathThatCannotBeListenedAtIsNamed) {
  std::ofstream(folder_ + "/file") << "precious";
  std::filesystem::create_symlink(path_, folder_ + "/link");
  const struct {
    std::string path;
    StatusCode code;
    const char* message;
  } kCases[] = {
      {folder_ + "/no/s", StatusCode::kNotFound, "does not exist: create it"},
      {folder_ + "/file", StatusCode::kFailedPrecondition, "something else than a socket"},
      {folder_ + "/link", StatusCode::kFailedPrecondition, "something else than a socket"},
      {folder_ + "/file/s", StatusCode::kFailedPrecondition, "Not a directory"},
      {"", StatusCode::kInvalidArgument, "has 0 bytes, expected 1 to 107"},
      {"/" + std::string(107, 'x'), StatusCode::kInvalidArgument, "has 108 bytes"},
      {std::string("\0x", 2), StatusCode::kInvalidArgument, "zero byte"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.path);
    EXPECT_THAT(SessionListener::Listen(c.path), StatusIs(c.code, HasSubstr(c.message)));
  }
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/file"));
}

TEST_F(SessionSocketTest, AThousandShortConnectionsLeaveNothingBehind) {
  ASSERT_OK_AND_ASSIGN(SessionListener listener, SessionListener::Listen(path_));
  const int before = NumDescriptors();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_OK_AND_ASSIGN(SessionSocket client, SessionSocket::Connect(path_, Soon()));
    if (i % 2 == 0) {
      ASSERT_OK(client.Send("hello", Soon()));
    }
    if (i % 3 == 0) client = SessionSocket(Descriptor());
    ASSERT_OK_AND_ASSIGN(auto accepted, listener.TryAccept());
    ASSERT_TRUE(accepted.has_value());
  }
  EXPECT_EQ(NumDescriptors(), before);
}

TEST_F(SessionSocketTest, WithoutADescriptorLeftTheClientWaitsOn) {
  ASSERT_OK_AND_ASSIGN(SessionListener listener, SessionListener::Listen(path_));
  ASSERT_OK_AND_ASSIGN(const SessionSocket client, SessionSocket::Connect(path_, Soon()));
  rlimit old_limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto refused = listener.TryAccept();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old_limit), 0);
  EXPECT_THAT(refused, StatusIs(StatusCode::kResourceExhausted, HasSubstr("accept")));
  ASSERT_OK_AND_ASSIGN(const auto accepted, listener.TryAccept());
  EXPECT_TRUE(accepted.has_value());
}

}  // namespace
}  // namespace skv::kvstore
