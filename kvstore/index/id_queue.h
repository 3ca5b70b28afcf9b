#pragma once
// A queue of dense ids, linked through nodes that its owner keeps in one array: every operation is
// O(1) and allocates nothing. `nodes[id]` has members `prev` and `next` of type uint32_t. Not
// thread-safe.

#include <cstdint>

namespace skv::kvstore {

class IdQueue {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  bool empty() const { return front_ == kNone; }
  // kNone when empty.
  uint32_t back() const { return back_; }

  // REQUIRES: `id` is in no queue.
  template <typename Nodes>
  void PushFront(Nodes& nodes, uint32_t id) {
    nodes[id].prev = kNone;
    nodes[id].next = front_;
    (front_ == kNone ? back_ : nodes[front_].prev) = id;
    front_ = id;
  }
  template <typename Nodes>
  void PushBack(Nodes& nodes, uint32_t id) {
    nodes[id].next = kNone;
    nodes[id].prev = back_;
    (back_ == kNone ? front_ : nodes[back_].next) = id;
    back_ = id;
  }
  // REQUIRES: `id` is in this queue.
  template <typename Nodes>
  void Remove(Nodes& nodes, uint32_t id) {
    const uint32_t prev = nodes[id].prev, next = nodes[id].next;
    (prev == kNone ? front_ : nodes[prev].next) = next;
    (next == kNone ? back_ : nodes[next].prev) = prev;
  }

 private:
  uint32_t front_ = kNone;
  uint32_t back_ = kNone;
};

}  // namespace skv::kvstore
