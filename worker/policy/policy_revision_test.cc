// The revision in fingerprints stands for what all policies select: kept results are told apart by
// it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "worker/policy/policy_params.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

uint64_t HashOfSelections(const std::string& name) {
  const TestSequence sequence =
      MakeRandomSequence({.shape = {3, 2, 3, 32, 600}, .num_tokens = 700}, 7);
  std::vector<int> ends;
  for (const double factor : {0.0, 2.0}) {
    if (factor > 0 && !HasSemanticFactor(name)) continue;
    for (const HeadSelections& rows : RunPolicy(sequence, {name, 64, factor}, 16, 1)) {
      for (const std::vector<PositionRange>& row : rows) {
        for (const PositionRange& range : row) {
          ends.insert(ends.end(), {range.begin, range.end});
        }
      }
    }
  }
  return XXH64(ends.data(), ends.size() * sizeof(int), 0);
}

TEST(PolicyRevisionTest, APolicyThatSelectsOtherwiseHasAnotherRevision) {
  const std::string revision = "/r8";
  const std::map<std::string, uint64_t> hashes = {
      {"chunk", 5409142864541444921u},
      {"h2o", 13034725649213679353u},
      {"infllm", 7110115177818009439u},
      {"oracle_sentence", 5163415308513488749u},
      {"oracle_sentence_per_token", 3502449352607628574u},
      {"oracle_topk", 16324951987401903753u},
      {"pyramidkv", 10061246509716299043u},
      {"quest", 16207971615060915035u},
      {"random", 10610049925710723042u},
      {"sentencekv", 2635112219202847671u},
      {"sentencekv_colm2025", 12784691100711780577u},
      {"snapkv", 15552534831221672755u},
      {"streaming", 15690462696821575450u}};
  std::map<std::string, uint64_t> got;
  for (const std::string_view name : PolicyNames()) {
    if (name == "full") continue;
    got[std::string(name)] = HashOfSelections(std::string(name));
    EXPECT_THAT(Fingerprint({std::string(name), 64, 0}), testing::EndsWith(revision));
  }
  EXPECT_EQ(got, hashes) << "raise kRevision (policy_params.cc) and put the new hashes here";
}

}  // namespace
}  // namespace skv::policy
