// How a group comes together, and how it ends when a rank is late, wrong, stopped or killed.
#include <sys/stat.h>

#include <chrono>
#include <fstream>

#include "gmock/gmock.h"
#include "worker/comm/rank_group_testing.h"

namespace skv::comm {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

absl::Status AllReduceOnes(Communicator& group) {
  std::vector<float> data(576, 1.0f);
  return group.AllReduceSum(data.data(), data.size());
}

// Joins, takes part in one call, then sleeps until a signal.
RankBody CallOnceThenPause() {
  return [](Communicator& group) {
    ASSERT_OK(AllReduceOnes(group));
    pause();
  };
}

// A peer process: joins as `rank` of `world_size` and runs `body`.
std::unique_ptr<RankProcess> StartRank(const RendezvousFolder& folder, int rank, int world_size,
                                       const RankBody& body) {
  return std::make_unique<RankProcess>([&] {
    auto group = JoinShmGroup(folder.Options(rank, world_size));
    ASSERT_OK(group);
    body(**group);
  });
}

TEST(ShmFailureTest, KilledPeerIsNamedAndBreaksTheGroupForGood) {
  const RendezvousFolder folder;
  const auto peer = StartRank(folder, 1, 2, CallOnceThenPause());
  const std::string pid = std::to_string(peer->pid());
  ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(folder.Options(0, 2)));
  ASSERT_OK(AllReduceOnes(*group));
  peer->Signal(SIGKILL);

  const auto names_peer = StatusIs(
      StatusCode::kAborted,
      AllOf(HasSubstr("AllReduceSum of 576 floats: rank 1 (pid " + pid), HasSubstr("has died")));
  EXPECT_THAT(AllReduceOnes(*group), names_peer) << "not merely late";
  EXPECT_THAT(AllReduceOnes(*group), names_peer) << "for good";
  std::string message;
  EXPECT_THAT(group->Broadcast(&message, 1000), names_peer);
}

TEST(ShmFailureTest, FollowerThatWaitsForAMessageSeesTheLeaderDie) {
  const RendezvousFolder folder;
  const auto leader = StartRank(folder, 0, 2, CallOnceThenPause());
  ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(folder.Options(1, 2)));
  ASSERT_OK(AllReduceOnes(*group));
  leader->Signal(SIGKILL);
  std::string message;
  EXPECT_THAT(
      group->Broadcast(&message, 20'000),
      StatusIs(StatusCode::kAborted, AllOf(HasSubstr("Broadcast: rank 0"), HasSubstr("died"))));
}

TEST(ShmFailureTest, StoppedPeerTimesOutByNameAndFailsItselfOnceItGoesOn) {
  const RendezvousFolder folder;
  const auto peer = StartRank(folder, 1, 2, [](Communicator& group) {
    raise(SIGSTOP);
    EXPECT_THAT(AllReduceOnes(group), StatusIs(StatusCode::kAborted, HasSubstr("did not arrive")));
  });
  ShmOptions options = folder.Options(0, 2);
  options.call_timeout = milliseconds(200);
  ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(options));
  peer->WaitUntilStopped();
  EXPECT_THAT(
      AllReduceOnes(*group),
      StatusIs(StatusCode::kAborted, AllOf(HasSubstr("rank 1 (pid " + std::to_string(peer->pid())),
                                           HasSubstr("did not arrive within the 200 ms"))));
  peer->Signal(SIGCONT);
  EXPECT_EQ(peer->Wait(), 0);
}

TEST(ShmFailureTest, BroadcastHasItsOwnTimeout) {
  const RendezvousFolder folder;
  const auto leader = StartRank(folder, 0, 2, [](Communicator&) { pause(); });
  ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(folder.Options(1, 2)));
  std::string message;
  EXPECT_THAT(group->Broadcast(&message, 50),
              StatusIs(StatusCode::kAborted, HasSubstr("did not arrive within the 50 ms")));
}

TEST(ShmFailureTest, AbortReachesAPeerThatWaitsInACall) {
  const RendezvousFolder folder;
  RunThreads(folder, 3, [](Communicator& group) {
    if (group.rank() == 1) group.Abort(absl::InternalError("out of memory in layer 3"));
    EXPECT_THAT(AllReduceOnes(group), StatusIs(StatusCode::kAborted, "out of memory in layer 3"));
  });
}

TEST(ShmFailureTest, PeerThatLeavesAfterItsPartDoesNotFailTheCall) {
  for (int round = 0; round < 20; ++round) {
    const RendezvousFolder folder;
    RunThreads(folder, 2, [](Communicator& group) { EXPECT_OK(AllReduceOnes(group)); });
  }
}

TEST(ShmJoinTest, LeavesNothingBehindOnceAllHaveJoined) {
  const RendezvousFolder folder;
  const auto peer = StartRank(folder, 1, 2, CallOnceThenPause());
  ASSERT_OK_AND_ASSIGN(auto group, JoinShmGroup(folder.Options(0, 2)));
  EXPECT_TRUE(folder.IsEmpty());
}

// Rank 0 gives up after so long; the other ranks of a test join within it even on a loaded machine.
constexpr milliseconds kOthersHaveJoined{3'000};

// Joins all options at once and returns the error of each.
std::vector<absl::Status> JoinAll(const std::vector<ShmOptions>& all_options) {
  std::vector<absl::Status> statuses(all_options.size());
  std::vector<std::thread> ranks;
  for (size_t i = 0; i < all_options.size(); ++i) {
    ranks.emplace_back([&, i] { statuses[i] = JoinShmGroup(all_options[i]).status(); });
  }
  for (std::thread& rank : ranks) rank.join();
  return statuses;
}

TEST(ShmJoinTest, MissingRankIsNamedToAllThatWait) {
  const RendezvousFolder folder;
  ShmOptions first = folder.Options(0, 4);
  first.join_timeout = kOthersHaveJoined;
  for (const absl::Status& status : JoinAll({first, folder.Options(2, 4)})) {
    EXPECT_THAT(status, StatusIs(StatusCode::kUnavailable, HasSubstr("rank(s) 1, 3 did not join")));
  }
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(ShmJoinTest, MissingRankZeroIsNamed) {
  const RendezvousFolder folder;
  ShmOptions options = folder.Options(1, 2);
  options.join_timeout = milliseconds(50);
  EXPECT_THAT(JoinShmGroup(options),
              StatusIs(StatusCode::kUnavailable, HasSubstr("rank 0 did not join")));
}

TEST(ShmJoinTest, DifferentFingerprintsFailBothRanksWithBothValues) {
  const RendezvousFolder folder;
  ShmOptions other = folder.Options(1, 2);
  other.fingerprint = "model B";
  for (const absl::Status& status : JoinAll({folder.Options(0, 2), other})) {
    EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition,
                                 AllOf(HasSubstr("rank 1 has 'model B'"),
                                       HasSubstr("rank 0 has 'model A'"))));
  }
}

TEST(ShmJoinTest, DifferentWorldSizesFailBothRanksWithBothValues) {
  const RendezvousFolder folder;
  for (const absl::Status& status : JoinAll({folder.Options(0, 2), folder.Options(2, 3)})) {
    EXPECT_THAT(status, StatusIs(StatusCode::kFailedPrecondition,
                                 AllOf(HasSubstr("rank 2 has 3"), HasSubstr("rank 0 has 2"))));
  }
}

TEST(ShmJoinTest, SecondProcessWithOneRankIsRefusedAndTheFirstGoesOn) {
  const RendezvousFolder folder;
  ShmOptions first = folder.Options(0, 3);
  first.join_timeout = kOthersHaveJoined;
  const std::vector<absl::Status> statuses =
      JoinAll({first, folder.Options(1, 3), folder.Options(1, 3)});
  const auto refused = StatusIs(StatusCode::kFailedPrecondition, HasSubstr("has joined already"));
  const auto went_on = StatusIs(StatusCode::kUnavailable, HasSubstr("rank(s) 2 did not join"));
  EXPECT_THAT(statuses, testing::UnorderedElementsAre(went_on, went_on, refused));
}

TEST(ShmJoinTest, SecondGroupAtThePathOfALiveOneIsRefusedAndTheFirstGoesOn) {
  const RendezvousFolder folder;
  ShmOptions leader = folder.Options(0, 2);
  leader.join_timeout = milliseconds(300);
  const auto refused = StatusIs(StatusCode::kFailedPrecondition, HasSubstr("live rank 0"));
  const auto went_on = StatusIs(StatusCode::kUnavailable, HasSubstr("rank(s) 1 did not join"));
  EXPECT_THAT(JoinAll({leader, leader}), testing::UnorderedElementsAre(went_on, refused));
}

TEST(ShmJoinTest, FileOfADeadRankZeroIsReplaced) {
  const RendezvousFolder folder;
  auto dead = StartRank(folder, 0, 2, [](Communicator&) {});
  struct stat info {};
  while (stat(folder.path().c_str(), &info) != 0) std::this_thread::yield();
  dead->Signal(SIGKILL);
  ASSERT_FALSE(folder.IsEmpty());
  RunThreads(folder, 2, [](Communicator& group) { EXPECT_OK(AllReduceOnes(group)); });
  EXPECT_TRUE(folder.IsEmpty());
}

TEST(ShmJoinTest, RankThatDiesWhileJoiningFailsTheOthers) {
  const RendezvousFolder folder;
  auto peer = StartRank(folder, 1, 3, [](Communicator&) {});
  std::thread killer([&] {
    struct stat info {};
    while (stat(folder.path().c_str(), &info) != 0) std::this_thread::yield();
    peer->Signal(SIGKILL);
  });
  ShmOptions options = folder.Options(0, 3);
  options.join_timeout = milliseconds(300);
  // Killed before it had joined, it is missing instead: both name it.
  EXPECT_THAT(JoinShmGroup(options),
              StatusIs(StatusCode::kUnavailable,
                       testing::AnyOf(HasSubstr("rank 1 (pid"), HasSubstr("rank(s) 1, 2"))));
  killer.join();
}

TEST(ShmJoinTest, SomebodyElsesFileIsNotTouched) {
  const RendezvousFolder folder;
  std::ofstream(folder.path()) << "a letter to my mother";
  EXPECT_THAT(JoinShmGroup(folder.Options(0, 2)),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("choose another path")));
  EXPECT_FALSE(folder.IsEmpty());
}

TEST(ShmJoinTest, OptionsOutOfRangeAreRefused) {
  const RendezvousFolder folder;
  ShmOptions long_fingerprint = folder.Options(0, 1);
  long_fingerprint.fingerprint.assign(kMaxFingerprintBytes + 1, 'f');
  ShmOptions nowhere = folder.Options(0, 1);
  nowhere.path = "/nonexistent/group";
  const struct {
    ShmOptions options;
    std::string message;
  } kCases[] = {{folder.Options(0, 0), "world size 0 is outside 1..64"},
                {folder.Options(0, 65), "world size 65"},
                {folder.Options(2, 2), "rank 2 is outside 0..1"},
                {folder.Options(-1, 2), "rank -1"},
                {long_fingerprint, "fingerprint has 1025 bytes"},
                {nowhere, "/nonexistent"}};
  for (const auto& c : kCases) {
    EXPECT_THAT(JoinShmGroup(c.options),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

}  // namespace
}  // namespace skv::comm
