#include "router/task_queue.h"

#include <utility>

#include "common/clock.h"

namespace skv::router {

TaskQueue::TaskQueue(int num_threads) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

TaskQueue::~TaskQueue() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void TaskQueue::Post(std::function<void()> task) {
  MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
  changed_.NotifyOne();
}

void TaskQueue::Run() {
  constexpr Duration kIdle = std::chrono::seconds(60);
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(&mutex_);
      changed_.WaitUntil(&mutex_, RealClock().Now() + kIdle,
                         [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) {
        if (stopping_) return;
        continue;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace skv::router
