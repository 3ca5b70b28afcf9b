#include "common/signals.h"

#include <signal.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"

namespace skv {
namespace {

constexpr std::chrono::milliseconds kJustLook{0};
constexpr std::chrono::milliseconds kLong{60'000};

TEST(SignalWaiterTest, EachSignalAndRaiseWakesItOnce) {
  SignalWaiter waiter;
  EXPECT_FALSE(waiter.WaitFor(kJustLook)) << "nothing has come yet";
  for (const int signal : {SIGTERM, SIGINT}) {
    ASSERT_EQ(raise(signal), 0);
    EXPECT_TRUE(waiter.WaitFor(kJustLook)) << signal;
    EXPECT_FALSE(waiter.WaitFor(kJustLook)) << signal << " came once";
  }
  waiter.Raise();
  EXPECT_TRUE(waiter.WaitFor(kJustLook));
}

TEST(SignalWaiterTest, ASignalReachesAThreadThatWaits) {
  SignalWaiter waiter;
  bool woken = false;
  std::thread thread([&] { woken = waiter.WaitFor(kLong); });
  ASSERT_EQ(kill(getpid(), SIGTERM), 0);
  thread.join();
  EXPECT_TRUE(woken);
}

TEST(SignalWaiterTest, SignalsEndTheProcessAgainOnceItIsGone) {
  { const SignalWaiter waiter; }
  for (const int signal : {SIGTERM, SIGINT}) {
    struct sigaction action = {};
    ASSERT_EQ(sigaction(signal, nullptr, &action), 0);
    EXPECT_EQ(action.sa_handler, SIG_DFL) << signal;
  }
  SignalWaiter next;  // and another may take its place
  next.Raise();
  EXPECT_TRUE(next.WaitFor(kJustLook));
}

}  // namespace
}  // namespace skv
