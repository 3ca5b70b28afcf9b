#include "skv/event_queue.h"

#include <utility>

namespace skv {

bool EventQueue::OnToken(const engine::TokenEvent& event) {
  MutexLock lock(&mutex_);
  events_.tokens.push_back(event.token.token);
  events_.explanations.insert(events_.explanations.end(), event.explanations.begin(),
                              event.explanations.end());
  changed_.NotifyOne();
  return true;
}

void EventQueue::OnFinish(const engine::FinishEvent& event) {
  MutexLock lock(&mutex_);
  events_.finish = event;
  if (event.explanation) events_.explanations.push_back(*event.explanation);
  changed_.NotifyOne();
}

EventQueue::Events EventQueue::Take(Duration timeout) {
  MutexLock lock(&mutex_);
  changed_.WaitUntil(&mutex_, RealClock().Now() + timeout,
                     [&] { return !events_.tokens.empty() || events_.finish.has_value(); });
  return std::exchange(events_, {});
}

}  // namespace skv
