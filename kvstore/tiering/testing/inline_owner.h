#pragma once
// The thread that owns the store is whoever calls. For tests of one thread.

#include <functional>
#include <utility>

#include "kvstore/tiering/tier_desk.h"

namespace skv::kvstore {

class InlineOwner : public StoreOwner {
 public:
  // `then` follows each call, as the telling of news does.
  InlineOwner(TierDesk* desk, std::function<void()> then) : desk_(desk), then_(std::move(then)) {}

  bool Run(const std::function<void(TierDesk*)>& call) override {
    if (is_stopped_) return false;
    call(desk_);
    then_();
    return true;
  }
  void Stop() { is_stopped_ = true; }

 private:
  TierDesk* const desk_;
  const std::function<void()> then_;
  bool is_stopped_ = false;
};

}  // namespace skv::kvstore
