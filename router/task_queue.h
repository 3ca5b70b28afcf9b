#pragma once
// Runs short tasks away from the threads that poll the network: tokenising a long prompt takes tens
// of milliseconds, and a polling thread that long away delays every stream.

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "common/mutex.h"

namespace skv::router {

// Thread-safe. First in, first out. Its users bound what they put in.
class TaskQueue {
 public:
  explicit TaskQueue(int num_threads);
  // Runs what is queued, then stops.
  ~TaskQueue();

  void Post(std::function<void()> task);

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> tasks_ SKV_GUARDED_BY(mutex_);
  bool stopping_ SKV_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace skv::router
