// What every communicator computes: ranks as threads, and as processes where memory is truly apart.
#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "worker/comm/rank_group_testing.h"
#include "worker/comm/self_communicator.h"

namespace skv::comm {
namespace {

using testing::HasSubstr;

// Numbers whose sum depends on the order of the additions.
template <typename T>
std::vector<T> RandomNumbers(uint32_t seed, int rank, size_t count) {
  std::mt19937 random(seed * 31 + rank);
  std::uniform_real_distribution<T> mantissa(-1, 1);
  std::vector<T> values(count);
  for (T& value : values) value = std::ldexp(mantissa(random), static_cast<int>(random() % 24));
  return values;
}

template <typename T>
void CheckAllReduce(Communicator& group, uint32_t seed, size_t count) {
  std::vector<T> expected = RandomNumbers<T>(seed, 0, count);
  for (int rank = 1; rank < group.world_size(); ++rank) {
    const std::vector<T> part = RandomNumbers<T>(seed, rank, count);
    for (size_t i = 0; i < count; ++i) expected[i] += part[i];
  }
  std::vector<T> data = RandomNumbers<T>(seed, group.rank(), count);
  ASSERT_OK(group.AllReduceSum(data.data(), count));
  if (count == 0) return;
  ASSERT_EQ(std::memcmp(data.data(), expected.data(), count * sizeof(T)), 0)
      << "rank " << group.rank() << ": other bits for " << count << " numbers of " << sizeof(T)
      << " bytes, seed " << seed;
}

void CheckBroadcast(Communicator& group, uint32_t seed, size_t size) {
  std::string expected(size, '\0');
  std::mt19937 random(seed);
  for (char& c : expected) c = static_cast<char>(random());
  std::string message = group.rank() == 0 ? expected : "left from before";
  ASSERT_OK(group.Broadcast(&message, 20'000));
  ASSERT_TRUE(message == expected) << "rank " << group.rank() << ": " << size << " bytes";
}

void CheckGather(Communicator& group, uint32_t seed, const std::vector<size_t>& counts) {
  std::vector<float> expected;
  for (int rank = 0; rank < group.world_size(); ++rank) {
    const std::vector<float> part = RandomNumbers<float>(seed, rank, counts[rank]);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  const std::vector<float> shard = RandomNumbers<float>(seed, group.rank(), counts[group.rank()]);
  std::vector<float> out(group.rank() == 0 ? expected.size() : 0);
  ASSERT_OK(group.Gather(shard.data(), counts.data(), group.rank() == 0 ? out.data() : nullptr));
  if (group.rank() == 0) {
    ASSERT_EQ(out, expected);
  }
}

// All ranks draw the same calls from one seed; sizes sit around the chunks of 16384 floats
// and 8192 doubles.
void RunRandomCalls(Communicator& group, uint32_t seed, int num_calls) {
  constexpr size_t kSizes[] = {0, 1, 2, 63, 576, 577, 8192, 8193, 16383, 16384, 16385, 50'000};
  constexpr size_t kBytes[] = {0, 1, 900, 65'527, 65'528, 65'529, 131'064, 300'000};
  std::mt19937 random(seed);
  for (int i = 0; i < num_calls && !testing::Test::HasFatalFailure(); ++i) {
    const uint32_t kind = random() % 4;
    const uint32_t pick = random();
    if (kind == 0) {
      CheckAllReduce<float>(group, pick, kSizes[pick % std::size(kSizes)]);
    } else if (kind == 1) {
      CheckAllReduce<double>(group, pick, kSizes[pick % std::size(kSizes)]);
    } else if (kind == 2) {
      CheckBroadcast(group, pick, kBytes[pick % std::size(kBytes)]);
    } else {
      std::vector<size_t> counts(group.world_size());
      for (size_t& count : counts) count = kSizes[random() % std::size(kSizes)];
      CheckGather(group, pick, counts);
    }
  }
}

TEST(ShmCommunicatorTest, AgreesWithTheModelForRanksAsThreads) {
  for (const int world_size : {1, 2, 3, 5}) {
    SCOPED_TRACE(world_size);
    const RendezvousFolder folder;
    RunThreads(folder, world_size, [](Communicator& group) { RunRandomCalls(group, 11, 80); });
  }
}

TEST(ShmCommunicatorTest, AgreesWithTheModelForRanksAsProcesses) {
  for (const int world_size : {2, 3}) {
    SCOPED_TRACE(world_size);
    const RendezvousFolder folder;
    std::vector<std::unique_ptr<RankProcess>> peers;
    for (int rank = 1; rank < world_size; ++rank) {
      peers.push_back(std::make_unique<RankProcess>([&] {
        auto group = JoinShmGroup(folder.Options(rank, world_size));
        ASSERT_OK(group);
        RunRandomCalls(**group, 12, 300);
      }));
    }
    ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(folder.Options(0, world_size)));
    RunRandomCalls(*group, 12, 300);
    for (auto& peer : peers) EXPECT_EQ(peer->Wait(), 0);
  }
}

TEST(ShmCommunicatorTest, SumsInRankOrder) {
  const RendezvousFolder folder;
  RunThreads(folder, 3, [](Communicator& group) {
    // (1e8 + 1) - 1e8 is 0 in floats; any order that adds 1 last gives 1.
    const float parts[] = {1e8f, 1.0f, -1e8f};
    std::vector<float> data(100, parts[group.rank()]);
    ASSERT_OK(group.AllReduceSum(data.data(), data.size()));
    EXPECT_EQ(data, std::vector<float>(100, 0.0f));
  });
}

TEST(ShmCommunicatorTest, LeaderMayRunAheadOfFollowersWithoutOverwritingMessages) {
  const RendezvousFolder folder;
  RunThreads(folder, 3, [](Communicator& group) {
    for (int i = 0; i < 3000; ++i) {
      std::string message = group.rank() == 0 ? std::to_string(i) : "";
      ASSERT_OK(group.Broadcast(&message, 20'000));
      ASSERT_EQ(message, std::to_string(i));
    }
  });
}

TEST(ShmCommunicatorTest, RanksInDifferentCallsAreToldOfBoth) {
  const RendezvousFolder folder;
  RunThreads(folder, 2, [](Communicator& group) {
    std::vector<float> data(8, 1.0f);
    absl::Status status = group.AllReduceSum(data.data(), group.rank() == 0 ? 4 : 8);
    // One rank may pass this call before the other has compared; it fails in the next.
    if (status.ok()) status = group.AllReduceSum(data.data(), 4);
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kInternal, HasSubstr("AllReduceSum of 4 floats")));
    EXPECT_THAT(status,
                StatusIs(absl::StatusCode::kInternal, HasSubstr("AllReduceSum of 8 floats")));
  });
}

TEST(ShmCommunicatorTest, MessageOverTheLimitIsRefusedBeforeAnythingIsSent) {
  const RendezvousFolder folder;
  RunThreads(folder, 2, [](Communicator& group) {
    if (group.rank() == 0) {
      std::string huge(kMaxBroadcastBytes + 1, 'x');
      EXPECT_THAT(group.Broadcast(&huge, 1000),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("268435457 bytes")));
    }
    CheckBroadcast(group, 1, 100);
  });
}

TEST(SelfCommunicatorTest, AgreesWithTheModel) {
  const auto group = CreateSelfCommunicator();
  EXPECT_EQ(group->rank(), 0);
  EXPECT_EQ(group->world_size(), 1);
  CheckAllReduce<float>(*group, 1, 576);
  CheckAllReduce<double>(*group, 1, 576);
  CheckGather(*group, 2, {576});
  CheckGather(*group, 2, {0});
  std::string message = "kept";
  ASSERT_OK(group->Broadcast(&message, 0));
  EXPECT_EQ(message, "kept");
}

TEST(SelfCommunicatorTest, FailsWithTheReasonAfterAbort) {
  const auto group = CreateSelfCommunicator();
  group->Abort(absl::InternalError("first"));
  group->Abort(absl::InternalError("second"));
  float value = 1.0f;
  const auto is_first = StatusIs(absl::StatusCode::kAborted, testing::Eq("first"));
  EXPECT_THAT(group->AllReduceSum(&value, 1), is_first);
  std::string message;
  EXPECT_THAT(group->Broadcast(&message, 0), is_first);
  const size_t counts[] = {0};
  EXPECT_THAT(group->Gather(&value, counts, &value), is_first);
}

}  // namespace
}  // namespace skv::comm
