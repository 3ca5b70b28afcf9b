// The writer under threads, on a call that is no gRPC: what TSan can see whole.

#include "router/grpc/stream_writer.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "router/grpc/conversions.h"
#include "router/task_queue.h"

namespace skv::router {
namespace {

std::string TextOf(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  skv::v1::GenerateEvent event;
  const bool parsed = bytes.DumpToSingleSlice(&slice).ok() &&
                      event.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
  return parsed ? event.text() : "not an event";
}

// Completes each write on another thread, as gRPC does. A client that does not read leaves its
// first write open until it is cancelled.
class ThreadedCall : public ServerCall {
 public:
  ThreadedCall(TaskQueue* threads, bool reads) : threads_(threads), reads_(reads) {}
  void set_writer(std::shared_ptr<StreamWriter> writer) { writer_ = std::move(writer); }

  void StartWrite(const grpc::ByteBuffer* bytes) override {
    EXPECT_FALSE(write_in_flight_.exchange(true)) << "two writes at once";
    {
      MutexLock lock(&mutex_);
      EXPECT_EQ(num_ends_, 0) << "a write after the end";
      text_ += TextOf(*bytes);
    }
    if (reads_) CompleteWrite(true);
  }
  void Finish(grpc::Status status) override {
    EXPECT_FALSE(write_in_flight_) << "the end during a write";
    {
      MutexLock lock(&mutex_);
      ++num_ends_;
      status_ = std::move(status);
    }
    threads_->Post([this, writer = writer_] {
      writer->Detach();
      MutexLock lock(&mutex_);
      gone_ = true;
      changed_.NotifyAll();
    });
  }
  void TryCancel() override { CompleteWrite(false); }

  // Empty and no end when the call does not end.
  struct Outcome {
    std::string text;
    grpc::Status status;
    int num_ends = 0;
  };
  Outcome Wait() {
    MutexLock lock(&mutex_);
    changed_.WaitUntil(&mutex_, RealClock().Now() + std::chrono::seconds(60),
                       [this] { return gone_; });
    return {text_, status_, num_ends_};
  }

 private:
  void CompleteWrite(bool ok) {
    threads_->Post([this, ok, writer = writer_] {
      write_in_flight_ = false;
      writer->OnWriteDone(ok);
    });
  }

  TaskQueue* const threads_;
  const bool reads_;
  std::shared_ptr<StreamWriter> writer_;
  std::atomic<bool> write_in_flight_{false};
  Mutex mutex_;
  CondVar changed_;
  std::string text_ SKV_GUARDED_BY(mutex_);
  grpc::Status status_ SKV_GUARDED_BY(mutex_);
  int num_ends_ SKV_GUARDED_BY(mutex_) = 0;
  bool gone_ SKV_GUARDED_BY(mutex_) = false;
};

// No delivery time-out: its alarm is gRPC's.
constexpr StreamWriterOptions kLargeBuffer{.delivery_timeout = Duration::max()};
constexpr StreamWriterOptions kSmallBuffer{.max_buffer_bytes = 100,
                                           .delivery_timeout = Duration::max()};

TEST(StreamWriterTest, WritesAreKeptInOrderAndTheStreamEndsOnceUnderThreads) {
  TaskQueue threads(4);
  const std::string whole = "abcdefghijklmnopqrst";
  for (int round = 0; round < 500; ++round) {
    ThreadedCall call(&threads, /*reads=*/true);
    const auto writer = std::make_shared<StreamWriter>(&call, kLargeBuffer);
    call.set_writer(writer);
    const bool cancelled = round % 2 == 1;
    std::thread canceller([&] {
      if (cancelled) writer->Finish(absl::CancelledError("the client went away"));
    });
    for (const char c : whole) EXPECT_TRUE(writer->Write({.text = std::string(1, c)}));
    writer->Finish(absl::OkStatus());
    canceller.join();
    const ThreadedCall::Outcome outcome = call.Wait();
    EXPECT_EQ(outcome.num_ends, 1);
    EXPECT_TRUE(whole.starts_with(outcome.text)) << outcome.text;
    EXPECT_TRUE(cancelled || outcome.text == whole) << outcome.text;
  }
}

TEST(StreamWriterTest, ClientThatDoesNotReadIsCancelledOnceItsBufferIsFull) {
  TaskQueue threads(2);
  for (int round = 0; round < 100; ++round) {
    ThreadedCall call(&threads, /*reads=*/false);
    const auto writer = std::make_shared<StreamWriter>(&call, kSmallBuffer);
    call.set_writer(writer);
    int num_taken = 0;
    while (num_taken < 1000 && writer->Write({.text = "ten bytes."})) ++num_taken;
    EXPECT_GT(num_taken, 0);
    EXPECT_LT(num_taken, 1000);
    writer->Finish(absl::CancelledError("the client reads too slowly"));
    const ThreadedCall::Outcome outcome = call.Wait();
    EXPECT_EQ(outcome.num_ends, 1);
    EXPECT_EQ(outcome.status.error_message(), "the client reads too slowly");
  }
}

}  // namespace
}  // namespace skv::router
