#include "worker/kv/slot_pool.h"

#include "absl/strings/str_cat.h"
#include "common/log.h"

namespace skv::kv {

absl::Status SlotPool::Take(int64_t num_slots) {
  const int64_t used = used_slots();
  if (num_slots > capacity_slots_ - used) {
    return absl::ResourceExhaustedError(absl::StrCat("working sets: no room for ", num_slots,
                                                     " slots: ", used, " of ", capacity_slots_,
                                                     " used; raise --working-set-memory-bytes"));
  }
  used_slots_.store(used + num_slots, std::memory_order_relaxed);
  return absl::OkStatus();
}

void SlotPool::GiveBack(int64_t num_slots) {
  SKV_CHECK(num_slots <= used_slots());
  used_slots_.fetch_sub(num_slots, std::memory_order_relaxed);
}

}  // namespace skv::kv
