#include "router/group_choice.h"

#include "gtest/gtest.h"

namespace skv::router {
namespace {

// A request of model f1 was lost at group 1, which is healthy again in `cluster_`; group 2 is out.
class MayRecoverTest : public testing::Test {
 protected:
  MayRecoverTest() {
    cluster_.groups[1] = {.fingerprint = "f1", .numerics_id = "n1"};
    cluster_.groups[2] = {.fingerprint = "f1",
                          .numerics_id = "n1",
                          .health = absl::UnavailableError("connection refused")};
  }
  bool May(const absl::Status& failure, std::optional<std::string> numerics_id = std::nullopt) {
    return MayRecover(cluster_, {.tried = {{.group_id = 1}}},
                      {.fingerprint = "f1", .numerics_id = numerics_id, .last_failure = failure});
  }

  const absl::Status failed_ = absl::AbortedError("step failed");
  const absl::Status lost_ = absl::UnavailableError("socket closed");
  Cluster cluster_;
};

TEST_F(MayRecoverTest, AGroupOfThatModelThatIsOutMayDoLater) {
  EXPECT_TRUE(May(failed_));
  EXPECT_TRUE(May(failed_, "n1"));
  cluster_.groups[2].health = absl::OkStatus();
  EXPECT_FALSE(May(failed_));
  EXPECT_FALSE(May(failed_, "n1"));
}

TEST_F(MayRecoverTest, AGroupOfAnotherModelWillNot) {
  cluster_.groups[2].fingerprint = "f2";
  EXPECT_FALSE(May(failed_));
  EXPECT_FALSE(May(failed_, "n1"));
}

TEST_F(MayRecoverTest, AGroupOfOtherArithmeticWillNotAfterTheFirstToken) {
  cluster_.groups[2].numerics_id = "n2";
  EXPECT_TRUE(May(failed_));
  EXPECT_FALSE(May(failed_, "n1"));
}

TEST_F(MayRecoverTest, AGroupThatHasToldNothingYetMay) {
  cluster_.groups[2].fingerprint = "";
  cluster_.groups[2].numerics_id = "that of the process before";
  EXPECT_TRUE(May(failed_, "n1"));
  cluster_.groups[2].health = absl::FailedPreconditionError("serves another model");
  EXPECT_FALSE(May(failed_, "n1"));
}

TEST_F(MayRecoverTest, AGroupThatLeftTheListWillNot) {
  cluster_.groups[2].leaving = true;
  EXPECT_FALSE(May(failed_));
  EXPECT_TRUE(May(lost_));
  cluster_.groups[1].leaving = true;
  EXPECT_FALSE(May(lost_));
  cluster_.groups.erase(1);
  EXPECT_FALSE(May(lost_));
}

TEST_F(MayRecoverTest, WhatHasNoRoomElsewhereIsHeldUpOnlyAfterItsFirstToken) {
  const absl::Status full = absl::ResourceExhaustedError("queue full");
  EXPECT_FALSE(May(full));
  EXPECT_TRUE(May(full, "n1"));
}

TEST_F(MayRecoverTest, WhatWasSentNowhereDoesNotWait) { EXPECT_FALSE(May(absl::OkStatus())); }

}  // namespace
}  // namespace skv::router
