// The orders against naive transcriptions on random traces of entries of one size, and what chains
// add: parking.

#include "kvstore/index/eviction_order.h"

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "kvstore/index/lru_order.h"
#include "kvstore/index/s3fifo_order.h"

namespace skv::kvstore {
namespace {

constexpr int kCapacity = 50;
constexpr int kNumKeys = 300;

// Algorithm 1 of the paper, line by line, on std::list. One deviation: when the main queue is full
// during EVICTS, the victim of EVICTM is the one wanted, so that each call evicts one.
class NaiveS3Fifo {
 public:
  bool Request(int key) {
    if (const auto it = uses_.find(key); it != uses_.end()) {
      it->second = std::min(it->second + 1, 3);
      return true;
    }
    while (static_cast<int>(small_.size() + main_.size()) >= kCapacity) Evict();
    const auto ghost = std::find(ghosts_.begin(), ghosts_.end(), key);
    if (ghost != ghosts_.end()) {
      ghosts_.erase(ghost);
      main_.push_front(key);
    } else {
      small_.push_front(key);
    }
    uses_[key] = 0;
    return false;
  }

 private:
  void Evict() {
    if (10 * small_.size() >= kCapacity) {
      EvictSmall();
    } else {
      EvictMain();
    }
  }
  void EvictSmall() {
    while (!small_.empty()) {
      const int key = small_.back();
      small_.pop_back();
      if (uses_[key] > 1) {
        main_.push_front(key);
        uses_[key] = 0;
        if (10 * main_.size() > 9 * kCapacity) return EvictMain();
      } else {
        ghosts_.push_back(key);
        if (10 * ghosts_.size() > 9 * kCapacity) ghosts_.pop_front();
        uses_.erase(key);
        return;
      }
    }
  }
  void EvictMain() {
    while (!main_.empty()) {
      const int key = main_.back();
      main_.pop_back();
      if (uses_[key] > 0) {
        main_.push_front(key);
        --uses_[key];
      } else {
        uses_.erase(key);
        return;
      }
    }
  }

  std::list<int> small_, main_;  // the head in front
  std::deque<int> ghosts_;       // the oldest in front
  std::map<int, int> uses_;
};

class NaiveLru {
 public:
  bool Request(int key) {
    const auto it = std::find(keys_.begin(), keys_.end(), key);
    const bool hit = it != keys_.end();
    if (hit) keys_.erase(it);
    keys_.push_front(key);
    if (keys_.size() > kCapacity) keys_.pop_back();
    return hit;
  }

 private:
  std::list<int> keys_;
};

// A cache of kCapacity entries of one byte, each a chain of its own.
class OrderedCache {
 public:
  explicit OrderedCache(std::unique_ptr<EvictionOrder> order) : order_(std::move(order)) {}
  bool Request(int key) {
    const auto id = static_cast<EntryIdx>(key);
    if (resident_.contains(id)) {
      order_->Touch({id});
      return true;
    }
    while (resident_.size() >= kCapacity) {
      resident_.erase(order_->PopVictim(0, [](EntryIdx) { return false; }).value());
    }
    order_->Insert({.id = id, .key_hash = id * 0x9E3779B97F4A7C15u, .bytes = 1});
    resident_.insert(id);
    return false;
  }
  const EvictionOrder& order() const { return *order_; }

 private:
  std::set<EntryIdx> resident_;
  const std::unique_ptr<EvictionOrder> order_;
};

template <typename Naive>
void ExpectSameHits(std::unique_ptr<EvictionOrder> order, int seed) {
  std::mt19937 random(seed);
  std::geometric_distribution<int> popular(0.02);
  std::uniform_int_distribution<int> any(0, kNumKeys - 1);
  Naive naive;
  OrderedCache cache(std::move(order));
  int num_hits = 0;
  for (int i = 0; i < 20000; ++i) {
    const int key = i % 3 == 0 ? any(random) : std::min(popular(random), kNumKeys - 1);
    const bool hit = naive.Request(key);
    num_hits += hit;
    ASSERT_EQ(cache.Request(key), hit) << "request " << i << " seed " << seed;
  }
  EXPECT_GT(num_hits, 3000);
  EXPECT_LT(num_hits, 17000);
  EXPECT_EQ(cache.order().gauges().num_entries, static_cast<uint64_t>(kCapacity));
}

TEST(S3FifoOrderTest, DoesWhatThePaperSays) {
  for (int seed = 0; seed < 20; ++seed) {
    ExpectSameHits<NaiveS3Fifo>(
        CreateS3FifoOrder({.max_entries = kNumKeys}, S3FifoOptions::Paper()), seed);
  }
}

TEST(LruOrderTest, DoesWhatAListDoes) {
  for (int seed = 0; seed < 20; ++seed) {
    ExpectSameHits<NaiveLru>(CreateLruOrder({.max_entries = kNumKeys}), seed);
  }
}

class EvictionOrderTest : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<EvictionOrder> Order(OrderOptions options) const {
    return GetParam() ? CreateS3FifoOrder(options) : CreateLruOrder(options);
  }
  std::optional<EntryIdx> Pop(EvictionOrder* order, uint32_t partition = 0) {
    return order->PopVictim(partition, [this](EntryIdx id) {
      ++num_asked_;
      return blocked_.contains(id);
    });
  }
  std::set<EntryIdx> blocked_;
  int num_asked_ = 0;
};
INSTANTIATE_TEST_SUITE_P(All, EvictionOrderTest, testing::Bool());

TEST_P(EvictionOrderTest, ABlockedEntryIsMetOnceUntilItIsUnblocked) {
  const auto order = Order({.max_entries = 10});
  for (EntryIdx id = 0; id < 10; ++id) order->Insert({.id = id, .key_hash = id, .bytes = 1});
  for (EntryIdx id = 0; id < 8; ++id) blocked_.insert(id);
  EXPECT_EQ(Pop(order.get()), 8u);
  EXPECT_EQ(order->gauges().num_parked, 8u);
  num_asked_ = 0;
  EXPECT_EQ(Pop(order.get()), 9u);
  EXPECT_EQ(num_asked_, 1);
  EXPECT_EQ(Pop(order.get()), std::nullopt);
  blocked_.erase(3);
  order->Unblock(3);
  EXPECT_EQ(Pop(order.get()), 3u);
}

TEST_P(EvictionOrderTest, ASingleCallTakesNoMoreThanItsSteps) {
  const auto order = Order({.max_entries = 100, .max_steps = 10});
  for (EntryIdx id = 0; id < 100; ++id) order->Insert({.id = id, .key_hash = id, .bytes = 1});
  for (EntryIdx id = 0; id < 15; ++id) blocked_.insert(id);
  EXPECT_EQ(Pop(order.get()), std::nullopt);
  EXPECT_EQ(num_asked_, 10);
  EXPECT_EQ(Pop(order.get()), 15u);
}

TEST_P(EvictionOrderTest, PartitionsDoNotTakeFromEachOther) {
  const auto order = Order({.max_entries = 2, .num_partitions = 2});
  order->Insert({.id = 0, .key_hash = 0, .bytes = 1, .partition = 0});
  order->Insert({.id = 1, .key_hash = 1, .bytes = 1, .partition = 1});
  EXPECT_EQ(Pop(order.get(), 1), 1u);
  EXPECT_EQ(Pop(order.get(), 1), std::nullopt);
  EXPECT_EQ(Pop(order.get(), 0), 0u);
}

TEST_P(EvictionOrderTest, AnErasedEntryIsNoVictim) {
  const auto order = Order({.max_entries = 2});
  order->Insert({.id = 0, .key_hash = 0, .bytes = 1});
  order->Insert({.id = 1, .key_hash = 1, .bytes = 1});
  blocked_ = {0};
  EXPECT_EQ(Pop(order.get()), 1u);
  order->Erase(0);
  EXPECT_EQ(Pop(order.get()), std::nullopt);
  EXPECT_EQ(order->gauges().num_entries, 0u);
  EXPECT_EQ(order->gauges().num_parked, 0u);
}

TEST(LruOrderTest, OfOneUseTheDeeperGoesFirst) {
  const auto order = CreateLruOrder({.max_entries = 3});
  for (EntryIdx id = 0; id < 3; ++id) order->Insert({.id = id, .key_hash = id, .bytes = 1});
  order->Touch({0, 1, 2});
  EXPECT_EQ(order->PopVictim(0, [](EntryIdx) { return false; }), 2u);
}

TEST(S3FifoOrderTest, AUsedParentNoLongerTakesRoomFromWhatIsNew) {
  // Entry 0 is the parent of all; parked in the small queue it would fill that by itself.
  const auto order = CreateS3FifoOrder({.max_entries = 10});
  const auto pop = [&] { return order->PopVictim(0, [](EntryIdx id) { return id == 0; }); };
  order->Insert({.id = 0, .key_hash = 0, .bytes = 100});
  order->Insert({.id = 1, .key_hash = 1, .bytes = 1});
  order->Insert({.id = 2, .key_hash = 2, .bytes = 10});
  order->Touch({2});
  EXPECT_EQ(pop(), 1u);  // parks 0; 2 stays in the small queue
  order->Touch({0});
  order->Insert({.id = 3, .key_hash = 3, .bytes = 2});
  // 12 of 112 bytes are in the small queue. Its end, 2, was used and moves on; then 2 of 112 are
  // less than a tenth, and the main queue gives.
  EXPECT_EQ(pop(), 2u);
}

}  // namespace
}  // namespace skv::kvstore
