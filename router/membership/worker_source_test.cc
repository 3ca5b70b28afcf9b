#include "router/membership/worker_source.h"

#include <cstdio>
#include <fstream>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace skv::router {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class FileWorkerSourceTest : public testing::Test {
 protected:
  FileWorkerSourceTest() : path_(testing::TempDir() + "worker_source_test.txt") {}
  ~FileWorkerSourceTest() override { std::remove(path_.c_str()); }
  void Write(const char* text) { std::ofstream(path_) << text; }

  const std::string path_;
};

TEST_F(FileWorkerSourceTest, ReadsTheFileAnewEachTime) {
  const auto source = MakeFileWorkerSource(path_);
  EXPECT_THAT(source->List(), StatusIs(absl::StatusCode::kNotFound, HasSubstr(path_)));
  Write("# two workers\n a:1 \n\nb:2 # second\na:1\n");
  EXPECT_THAT(source->List().value(), ElementsAre("a:1", "b:2"));
  Write("c:3");
  EXPECT_THAT(source->List().value(), ElementsAre("c:3"));
}

TEST_F(FileWorkerSourceTest, NamesTheLineThatIsWrong) {
  const auto source = MakeFileWorkerSource(path_);
  Write("a:1\nb:99999\n");
  EXPECT_THAT(source->List(), StatusIs(absl::StatusCode::kInvalidArgument,
                                       AllOf(HasSubstr("line 2"), HasSubstr("\"b:99999\""))));
}

TEST(StaticWorkerSourceTest, RefusesWhatIsNoAddress) {
  for (const char* address :
       {"", "a", ":1", "a:", "a:0", "a:65536", "a:-1", "http://a:1", "a:1x"}) {
    SCOPED_TRACE(address);
    EXPECT_THAT(MakeStaticWorkerSource({address}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected host:port")));
  }
  EXPECT_THAT(MakeStaticWorkerSource({}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("got 0")));
}

TEST(StaticWorkerSourceTest, DropsDuplicates) {
  const auto source = MakeStaticWorkerSource({"a:1", "[::1]:2", "a:1"});
  ASSERT_OK(source);
  EXPECT_THAT((*source)->List().value(), ElementsAre("a:1", "[::1]:2"));
}

}  // namespace
}  // namespace skv::router
