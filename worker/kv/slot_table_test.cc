#include "worker/kv/slot_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::kv {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Placement = SlotTable::Placement;

std::vector<int> Selected(const SlotTable& table) {
  std::vector<int> positions;
  table.ForEachSelected([&](int position, int) { positions.push_back(position); });
  return positions;
}

TEST(SlotTableTest, OnlyTheDifferenceIsPlaced) {
  SlotTable table(6);
  std::vector<Placement> placed;
  EXPECT_EQ(table.Select(std::vector{3, 5, 9}, &placed), 0);
  EXPECT_THAT(placed, ElementsAre(Placement{3, 0}, Placement{5, 1}, Placement{9, 2}));
  EXPECT_EQ(table.Select(std::vector{1, 5, 9}, &placed), 0);
  EXPECT_THAT(placed, ElementsAre(Placement{1, 3}));
  EXPECT_EQ(table.Select(std::vector{1, 3}, &placed), 0) << "3 is still there";
  EXPECT_THAT(placed, IsEmpty());
  EXPECT_THAT(Selected(table), ElementsAre(1, 3));
}

TEST(SlotTableTest, TheLeastRecentlySelectedGoesFirst) {
  SlotTable table(4);
  std::vector<Placement> placed;
  table.Select(std::vector{10, 20}, &placed);
  table.Select(std::vector{30, 40}, &placed);
  table.Select(std::vector{10}, &placed);
  EXPECT_EQ(table.Select(std::vector{50}, &placed), 1);
  EXPECT_THAT(placed, ElementsAre(Placement{50, 1})) << "20 had slot 1";
  EXPECT_EQ(table.Select(std::vector{60}, &placed), 1);
  EXPECT_THAT(placed, ElementsAre(Placement{60, 2})) << "of 30 and 40 the lower one goes";
}

TEST(SlotTableTest, MoreThanTheSlotsIsRefusedAndChangesNothing) {
  SlotTable table(2);
  std::vector<Placement> placed;
  table.Select(std::vector{7, 8}, &placed);
  EXPECT_EQ(table.Select(std::vector{1, 2, 3}, &placed), -1);
  EXPECT_THAT(placed, IsEmpty());
  EXPECT_THAT(Selected(table), ElementsAre(7, 8));
  EXPECT_EQ(table.Select(std::vector{7, 8}, &placed), 0);
  EXPECT_THAT(placed, IsEmpty());
}

// What the table must do, in the plainest way: position -> (last selected, slot).
class PlainTable {
 public:
  explicit PlainTable(int num_slots) : num_slots_(num_slots) {}

  // The positions that go; `placed` are those that come.
  std::set<int> Select(const std::vector<int>& positions, std::set<int>* placed) {
    ++now_;
    placed->clear();
    for (const int position : positions) {
      if (!last_selected_.contains(position)) placed->insert(position);
      last_selected_[position] = now_;
    }
    std::set<int> gone;
    while (static_cast<int>(last_selected_.size()) > num_slots_) {
      const auto oldest =
          std::min_element(last_selected_.begin(), last_selected_.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      gone.insert(oldest->first);
      last_selected_.erase(oldest);
    }
    return gone;
  }
  const std::map<int, int>& held() const { return last_selected_; }

 private:
  const int num_slots_;
  int now_ = 0;
  std::map<int, int> last_selected_;  // by position, so that the first of equals is the lowest
};

// Runs of positions that mostly stay, like the sentences of successive steps.
std::vector<int> DrawSelection(std::mt19937* random, int num_positions, int most) {
  const auto draw = [&](int n) { return static_cast<int>((*random)() % n); };
  std::set<int> selection;
  const int wanted = draw(most + 1);
  while (static_cast<int>(selection.size()) < wanted) {
    int position = draw(4) == 0 ? draw(num_positions) : draw(num_positions / 4 + 1);
    for (int n = 1 + draw(8); n > 0 && position < num_positions; --n, ++position) {
      if (static_cast<int>(selection.size()) < wanted) selection.insert(position);
    }
  }
  return {selection.begin(), selection.end()};
}

TEST(SlotTableTest, RandomSelectionsHoldWhatAPlainLruHolds) {
  std::mt19937 random(11);
  int64_t num_evicted = 0, num_hits = 0;
  for (int round = 0; round < 40; ++round) {
    const int num_slots = 1 + static_cast<int>(random() % 60);
    const int num_positions = num_slots + static_cast<int>(random() % 200);
    SlotTable table(num_slots);
    PlainTable plain(num_slots);
    std::map<int, int> slot_of;
    std::vector<Placement> placed;
    for (int i = 0; i < 250; ++i) {
      const std::vector<int> selection = DrawSelection(&random, num_positions, num_slots);
      std::set<int> must_come;
      const std::set<int> must_go = plain.Select(selection, &must_come);
      ASSERT_EQ(table.Select(selection, &placed), static_cast<int>(must_go.size()));
      for (const int position : must_go) slot_of.erase(position);
      ASSERT_EQ(placed.size(), must_come.size());
      ASSERT_TRUE(std::ranges::is_sorted(placed, {}, &Placement::position));
      for (const Placement& p : placed) {
        ASSERT_TRUE(must_come.contains(p.position)) << p.position;
        slot_of[p.position] = p.slot;
      }
      ASSERT_EQ(Selected(table), selection);
      std::set<int> slots;
      for (const auto& [position, slot] : slot_of) {
        ASSERT_TRUE(plain.held().contains(position));
        ASSERT_TRUE(slot >= 0 && slot < num_slots && slots.insert(slot).second) << slot;
      }
      ASSERT_EQ(table.num_held(), static_cast<int>(plain.held().size()));
      table.ForEachSelected([&](int position, int slot) { ASSERT_EQ(slot_of.at(position), slot); });
      num_evicted += must_go.size();
      num_hits += selection.size() - placed.size();
    }
  }
  // The test has met what it is about.
  EXPECT_GT(num_evicted, 10000);
  EXPECT_GT(num_hits, 50000);
}

TEST(SlotTableTest, NoMemoryIsMadeAfterTheStart) {
  SlotTable table(32);
  const size_t bytes = table.size_bytes();
  std::mt19937 random(5);
  std::vector<Placement> placed;
  for (int i = 0; i < 200; ++i) table.Select(DrawSelection(&random, 500, 32), &placed);
  EXPECT_EQ(table.num_held(), 32);
  EXPECT_EQ(table.size_bytes(), bytes);
}

}  // namespace
}  // namespace skv::kv
