#include "worker/kv/working_set.h"

#include <cstring>
#include <random>
#include <set>

#include "common/testing/status_matchers.h"

namespace skv::kv {
namespace {

constexpr KvLayout kLayout{.num_layers = 2, .num_kv_heads = 3, .head_dim = 32, .element_bytes = 2};
constexpr int kPrompt = 300, kTokens = 350;

// A row's bytes, different for each position, layer, head and part.
void FillRow(int layer, int head, int position, int part, std::byte* row) {
  const uint32_t key = ((position * 8 + layer) * 8 + head) * 2 + part;
  for (size_t i = 0; i < kLayout.RowBytes(); i += sizeof(key)) {
    std::memcpy(row + i, &key, sizeof(key));
  }
}

class WorkingSetTest : public testing::Test {
 protected:
  WorkingSetTest()
      : kv_pool_(*KvPool::Create(kLayout, 1024)), cache_(kv_pool_.get(), kPrompt, {20, 31, 170}) {
    EXPECT_OK(cache_.Reserve(kTokens));
    for (int layer = 0; layer < kLayout.num_layers; ++layer) {
      for (int head = 0; head < kLayout.num_kv_heads; ++head) {
        for (int position = 0; position < kTokens; ++position) {
          const RowPointers row = cache_.Row(layer, head, position);
          FillRow(layer, head, position, 0, row.k);
          FillRow(layer, head, position, 1, row.v);
        }
      }
    }
    cache_.Commit();
  }

  std::unique_ptr<WorkingSet> Make(int num_slots) {
    auto working_set = WorkingSet::Create(&slots_, num_slots);
    EXPECT_OK(working_set);
    return std::move(working_set).value();
  }

  // What was held last must be the rows of `positions`, and of no more slots than there are.
  static void CheckRuns(const WorkingSet& working_set, int layer, int head,
                        const std::vector<int>& positions) {
    std::vector<KvRun> runs;
    working_set.AppendRuns(layer, head, &runs);
    CheckRows(runs, layer, head, positions);
  }
  static void CheckRows(const std::vector<KvRun>& runs, int layer, int head,
                        const std::vector<int>& positions) {
    std::vector<std::byte> want(kLayout.RowBytes());
    std::set<const std::byte*> rows;
    size_t next = 0;
    for (const KvRun& run : runs) {
      for (int i = 0; i < run.num_rows; ++i, ++next) {
        ASSERT_LT(next, positions.size());
        const size_t offset = i * kLayout.RowBytes();
        FillRow(layer, head, positions[next], 0, want.data());
        ASSERT_EQ(std::memcmp(run.k + offset, want.data(), want.size()), 0) << positions[next];
        FillRow(layer, head, positions[next], 1, want.data());
        ASSERT_EQ(std::memcmp(run.v + offset, want.data(), want.size()), 0) << positions[next];
        ASSERT_TRUE(rows.insert(run.k + offset).second);
      }
    }
    ASSERT_EQ(next, positions.size());
  }

  const std::unique_ptr<KvPool> kv_pool_;
  SequenceCache cache_;
  SlotPool slots_{kLayout, 200};
};

TEST_F(WorkingSetTest, SelectedRowsAreReadInOrderOfPosition) {
  const auto working_set = Make(6);
  ASSERT_TRUE(working_set->Hold(1, 2, std::vector{0, 1, 40, 41, 42}, cache_));
  CheckRuns(*working_set, 1, 2, {0, 1, 40, 41, 42});
  ASSERT_TRUE(working_set->Hold(1, 2, std::vector{0, 7, 41, 305}, cache_));
  CheckRuns(*working_set, 1, 2, {0, 7, 41, 305});
  ASSERT_TRUE(working_set->Hold(0, 2, std::vector{9}, cache_)) << "another head, its own slots";
  CheckRuns(*working_set, 1, 2, {0, 7, 41, 305});
}

TEST_F(WorkingSetTest, NeighboursAreReadAsOneRun) {
  const auto working_set = Make(64);
  std::vector<int> positions;
  for (int i = 10; i < 60; ++i) positions.push_back(i);
  ASSERT_TRUE(working_set->Hold(0, 0, positions, cache_));
  std::vector<KvRun> runs;
  working_set->AppendRuns(0, 0, &runs);
  EXPECT_EQ(runs.size(), 1u) << "whatever blocks they come from";
}

TEST_F(WorkingSetTest, HeldRowsAreReadInSlotsAndOthersInTheCache) {
  const auto working_set = Make(6);
  ASSERT_TRUE(working_set->Hold(0, 0, std::vector{22, 23, 26, 40}, cache_));
  ASSERT_TRUE(working_set->Hold(0, 0, std::vector{50}, cache_)) << "the others stay held";
  std::vector<std::pair<int, int>> in_place;
  std::vector<KvRun> runs;
  working_set->AppendHeldOrCached(0, 0, 20, 28, cache_, &runs, [&](int begin, int end) {
    in_place.push_back({begin, end});
  });
  CheckRows(runs, 0, 0, {20, 21, 22, 23, 24, 25, 26, 27});
  EXPECT_EQ(in_place, (std::vector<std::pair<int, int>>{{20, 22}, {24, 26}, {27, 28}}));
  EXPECT_NE(runs[1].k, cache_.Row(0, 0, 22).k);
}

TEST_F(WorkingSetTest, CountsWhatSelectionsCost) {
  const auto working_set = Make(4);
  ASSERT_TRUE(working_set->Hold(0, 0, std::vector{1, 2, 310}, cache_));
  EXPECT_EQ(working_set->TakeUse(), (WorkingSetUse{.fetched_rows = 2, .own_rows = 1}));
  ASSERT_TRUE(working_set->Hold(0, 0, std::vector{1, 3, 311}, cache_));
  EXPECT_EQ(working_set->TakeUse(),
            (WorkingSetUse{.hit_rows = 1, .fetched_rows = 1, .own_rows = 1, .evicted_rows = 1}));
  EXPECT_FALSE(working_set->Hold(0, 0, std::vector{1, 2, 3, 4, 312}, cache_));
  EXPECT_EQ(working_set->TakeUse(), (WorkingSetUse{.in_place_rows = 5}));
}

TEST_F(WorkingSetTest, SlotsAreTakenFromThePoolAndGivenBack) {
  auto first = Make(150);
  EXPECT_EQ(slots_.used_slots(), 150);
  EXPECT_THAT(WorkingSet::Create(&slots_, 51),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       testing::HasSubstr("raise --working-set-memory-bytes")));
  const auto second = Make(50);
  EXPECT_EQ(slots_.used_slots(), 200);
  first = nullptr;
  EXPECT_EQ(slots_.used_slots(), 50);
}

TEST_F(WorkingSetTest, RandomSelectionsReadWhatTheCacheHolds) {
  std::mt19937 random(2);
  constexpr int kSlots = 48;
  const auto working_set = Make(kSlots);
  const size_t bytes = working_set->size_bytes();
  EXPECT_GE(bytes, kSlots * kLayout.TokenBytes());
  WorkingSetUse use;
  int64_t num_selected = 0;
  for (int i = 0; i < 3000; ++i) {
    const int layer = random() % kLayout.num_layers, head = random() % kLayout.num_kv_heads;
    std::set<int> drawn;
    const size_t wanted = 1 + random() % kSlots;
    while (drawn.size() < wanted) {
      const int begin = random() % kTokens;
      for (int p = begin; p < std::min(begin + 9, kTokens) && drawn.size() < wanted; ++p) {
        drawn.insert(p);
      }
    }
    const std::vector<int> positions(drawn.begin(), drawn.end());
    ASSERT_TRUE(working_set->Hold(layer, head, positions, cache_));
    ASSERT_NO_FATAL_FAILURE(CheckRuns(*working_set, layer, head, positions)) << i;
    use += working_set->TakeUse();
    num_selected += positions.size();
  }
  EXPECT_EQ(use.hit_rows + use.fetched_rows + use.own_rows, num_selected);
  EXPECT_EQ(working_set->size_bytes(), bytes) << "what it may take is taken at the start";
}

}  // namespace
}  // namespace skv::kv
