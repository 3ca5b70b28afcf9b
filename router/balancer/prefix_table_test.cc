#include "router/balancer/prefix_table.h"

#include <map>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/balancer/testing/numbered_chain.h"

namespace skv::router {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

PrefixKey Key(int number) { return NumberedChain({{number, 1}}).keys[0]; }

std::vector<int> Holders(const PrefixTable& table, int number) {
  std::vector<int> slots;
  table.Find(Key(number), PrefixTable::SlotSet().set(), [&](int slot) { slots.push_back(slot); });
  return slots;
}

TEST(PrefixTableTest, AKeyNamesTheSlotsThatHoldIt) {
  PrefixTable table(100);
  table.Add(Key(1), 7);
  table.Add(Key(2), 7);
  table.Add(Key(2), 511);
  table.Add(Key(2), 0);
  EXPECT_THAT(Holders(table, 1), ElementsAre(7));
  EXPECT_THAT(Holders(table, 2), ElementsAre(0, 7, 511));
  EXPECT_THAT(Holders(table, 3), IsEmpty());
  EXPECT_EQ(table.num_keys(), 2u);

  table.Remove(Key(2), 7);
  table.Remove(Key(2), 8);
  table.Remove(Key(1), 7);
  table.Remove(Key(3), 7);
  EXPECT_THAT(Holders(table, 1), IsEmpty());
  EXPECT_THAT(Holders(table, 2), ElementsAre(0, 511));
  EXPECT_EQ(table.num_keys(), 1u);
}

TEST(PrefixTableTest, OnlyWantedSlotsAreNamed) {
  PrefixTable table(100);
  table.Add(Key(1), 3);
  table.Add(Key(2), 3);
  table.Add(Key(2), 4);
  for (const int key : {1, 2}) {
    table.Find(Key(key), PrefixTable::SlotSet().set(5), [](int slot) { ADD_FAILURE() << slot; });
  }
}

TEST(PrefixTableTest, AFullTableForgetsTheOldestKeyFirst) {
  PrefixTable table(3);
  for (int key = 1; key <= 5; ++key) table.Add(Key(key), 0);
  EXPECT_THAT(Holders(table, 1), IsEmpty());
  EXPECT_THAT(Holders(table, 2), IsEmpty());
  for (int key = 3; key <= 5; ++key) EXPECT_THAT(Holders(table, key), ElementsAre(0)) << key;
  EXPECT_EQ(table.num_keys(), 3u);
  EXPECT_EQ(table.num_evicted_keys(), 2u);
}

TEST(PrefixTableTest, AKeyThatIsAddedAgainOutlivesYoungerOnes) {
  PrefixTable table(3);
  for (int key = 1; key <= 3; ++key) table.Add(Key(key), 0);
  table.Add(Key(1), 0);
  table.Add(Key(4), 0);
  EXPECT_THAT(Holders(table, 1), ElementsAre(0));
  EXPECT_THAT(Holders(table, 2), IsEmpty());
}

TEST(PrefixTableTest, PlacesOfRemovedKeysAreUsedBeforeOthersAreEvicted) {
  PrefixTable table(3);
  for (int key = 1; key <= 3; ++key) table.Add(Key(key), 0);
  table.Remove(Key(2), 0);
  table.Add(Key(4), 0);
  EXPECT_THAT(Holders(table, 1), ElementsAre(0));
  EXPECT_THAT(Holders(table, 4), ElementsAre(0));
  EXPECT_EQ(table.num_evicted_keys(), 0u);
}

TEST(PrefixTableTest, ASweepTakesSlotsOutPieceByPiece) {
  PrefixTable table(100);
  for (int key = 0; key < 10; ++key) {
    table.Add(Key(key), 1);
    if (key % 2 == 0) table.Add(Key(key), 2);
  }
  const auto gone = PrefixTable::SlotSet().set(1);
  EXPECT_FALSE(table.Sweep(gone, 9));
  EXPECT_TRUE(table.Sweep(gone, 9));
  for (int key = 0; key < 10; ++key) {
    EXPECT_THAT(Holders(table, key), key % 2 == 0 ? std::vector<int>{2} : std::vector<int>{});
  }
  EXPECT_EQ(table.num_keys(), 5u);
  EXPECT_FALSE(table.Sweep(gone, 9));
}

TEST(PrefixTableTest, WithoutRoomForMoreSetsAKeyIsKnownOfItsNewestSlot) {
  PrefixTable table(16);  // two sets
  for (int key = 0; key < 3; ++key) {
    table.Add(Key(key), 1);
    table.Add(Key(key), 2);
  }
  EXPECT_THAT(Holders(table, 0), ElementsAre(1, 2));
  EXPECT_THAT(Holders(table, 1), ElementsAre(1, 2));
  EXPECT_THAT(Holders(table, 2), ElementsAre(2));
  table.Remove(Key(0), 1);
  table.Add(Key(2), 3);
  EXPECT_THAT(Holders(table, 2), ElementsAre(2, 3));
}

TEST(PrefixTableTest, OnlyAPromiseIsWithdrawn) {
  PrefixTable table(100);
  for (const int others : {0, 1, 2}) {  // further slots that hold the keys
    SCOPED_TRACE(others);
    const int key = 10 * others;
    std::vector<int> slots;
    for (int slot = 0; slot < others; ++slot) {
      for (int i = 0; i < 3; ++i) table.Add(Key(key + i), slot);
      slots.push_back(slot);
    }
    table.Promise(Key(key), 7);
    table.Promise(Key(key + 1), 7);
    table.Add(Key(key + 1), 7);
    table.Add(Key(key + 2), 7);
    table.Promise(Key(key + 2), 7);
    for (int i = 0; i < 3; ++i) {
      table.Withdraw(Key(key + i), 7);
      table.Withdraw(Key(key + i), 8);
    }
    EXPECT_EQ(Holders(table, key), slots);
    slots.push_back(7);
    EXPECT_EQ(Holders(table, key + 1), slots);
    EXPECT_EQ(Holders(table, key + 2), slots);
  }
}

TEST(PrefixTableTest, APromiseStaysOneWhenOtherSlotsComeAndGo) {
  PrefixTable table(100);
  table.Promise(Key(1), 7);
  table.Add(Key(1), 8);
  table.Remove(Key(1), 8);
  table.Withdraw(Key(1), 7);
  EXPECT_THAT(Holders(table, 1), IsEmpty());
  table.Add(Key(2), 7);
  table.Promise(Key(2), 8);
  table.Withdraw(Key(2), 8);
  table.Withdraw(Key(2), 7);
  EXPECT_THAT(Holders(table, 2), ElementsAre(7));
  EXPECT_EQ(table.num_keys(), 1u);
}

TEST(PrefixTableTest, WithoutRoomForMoreSetsAPromiseDoesNotReplaceAFact) {
  PrefixTable table(16);  // two sets
  for (int key = 0; key < 2; ++key) {
    table.Add(Key(key), 1);
    table.Add(Key(key), 2);
  }
  table.Add(Key(2), 1);
  table.Promise(Key(2), 2);
  EXPECT_THAT(Holders(table, 2), ElementsAre(1));
  table.Promise(Key(3), 1);
  table.Promise(Key(3), 2);
  EXPECT_THAT(Holders(table, 3), ElementsAre(2));
  table.Withdraw(Key(3), 2);
  EXPECT_THAT(Holders(table, 3), IsEmpty());
}

// Against a model of the truth that forgets nothing: with room for all keys and sets, equal;
// without, never a slot that was not added, and never more keys than allowed.
TEST(PrefixTableTest, AgreesWithAModelUnderRandomOperations) {
  for (const size_t max_keys : {1600u, 40u}) {
    PrefixTable table(max_keys);
    std::map<int, std::set<int>> model, promised;
    std::mt19937 random(static_cast<uint32_t>(max_keys));
    std::vector<PrefixKey> keys(100);
    for (int key = 0; key < 100; ++key) keys[key] = Key(key);
    for (int i = 0; i < 20000; ++i) {
      const int key = static_cast<int>(random() % 100), slot = static_cast<int>(random() % 5);
      if (random() % 3 > 0) {
        table.Add(keys[key], slot);
        model[key].insert(slot);
        promised[key].erase(slot);
      } else if (random() % 3 == 0) {
        table.Promise(keys[key], slot);
        if (model[key].insert(slot).second) promised[key].insert(slot);
      } else if (random() % 3 == 0) {
        table.Withdraw(keys[key], slot);
        if (promised[key].erase(slot) > 0) model[key].erase(slot);
      } else if (random() % 100 > 0) {
        table.Remove(keys[key], slot);
        model[key].erase(slot);
        promised[key].erase(slot);
      } else {
        while (!table.Sweep(PrefixTable::SlotSet().set(slot), 7)) continue;
        for (auto& [k, slots] : model) slots.erase(slot);
        for (auto& [k, slots] : promised) slots.erase(slot);
      }
      ASSERT_LE(table.num_keys(), max_keys);
      const std::vector<int> holders = Holders(table, key);
      if (max_keys == 1600) {
        ASSERT_EQ(std::set<int>(holders.begin(), holders.end()), model[key]) << "operation " << i;
      }
      for (const int holder : holders) ASSERT_TRUE(model[key].contains(holder));
    }
  }
}

}  // namespace
}  // namespace skv::router
