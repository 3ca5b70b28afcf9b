#pragma once
// Hands an answer's events from the engine's thread to the one that asked.

#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "worker/engine/request.h"

namespace skv {

// For requests of one sample. Thread-safe.
class EventQueue : public engine::TokenSink {
 public:
  struct Events {
    std::vector<TokenId> tokens;
    std::vector<engine::Explanation> explanations;
    std::optional<engine::FinishEvent> finish;  // after the last token
  };

  bool OnToken(const engine::TokenEvent& event) override;
  void OnFinish(const engine::FinishEvent& event) override;

  // What came since the last call. Waits for something for up to `timeout`.
  Events Take(Duration timeout);

 private:
  Mutex mutex_;
  CondVar changed_;
  Events events_ SKV_GUARDED_BY(mutex_);
};

}  // namespace skv
