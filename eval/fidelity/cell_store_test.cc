#include "eval/fidelity/cell_store.h"

#include <filesystem>
#include <fstream>

#include "common/testing/status_matchers.h"

namespace skv::eval {
namespace {

class CellStoreTest : public testing::Test {
 protected:
  CellStoreTest() { std::filesystem::remove(path_); }
  const std::string path_ = testing::TempDir() + "/cells.json";
};

TEST_F(CellStoreTest, CellsOutliveTheRun) {
  {
    ASSERT_OK_AND_ASSIGN(CellStore store, CellStore::Open(path_, "model a"));
    EXPECT_EQ(store.Find("x"), nullptr);
    ASSERT_OK(store.Add({{"x", {{"f1", 0.5}}}}));
  }
  ASSERT_OK_AND_ASSIGN(const CellStore store, CellStore::Open(path_, "model a"));
  ASSERT_NE(store.Find("x"), nullptr);
  EXPECT_EQ(store.Find("x")->at("f1"), 0.5);
}

TEST_F(CellStoreTest, ResultsOfAnotherSubjectAreRefused) {
  ASSERT_OK_AND_ASSIGN(CellStore store, CellStore::Open(path_, "model a"));
  ASSERT_OK(store.Add({{"x", 1}}));
  EXPECT_THAT(CellStore::Open(path_, "model b"),
              StatusIs(absl::StatusCode::kFailedPrecondition, testing::HasSubstr("model a")));
}

TEST_F(CellStoreTest, AnyOtherFileIsRefused) {
  std::ofstream(path_) << "[1, 2";
  EXPECT_THAT(CellStore::Open(path_, "model a"),
              StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("cells.json")));
}

}  // namespace
}  // namespace skv::eval
