// The revision in fingerprints stands for what all policies select: kept results are told apart by
// it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>

#include "worker/policy/policy_params.h"
#include "worker/policy/testing/policy_driver.h"
#include "worker/policy/testing/random_sequence.h"

namespace skv::policy {
namespace {

// FNV-1a.
class Hash {
 public:
  void Add(int value) {
    for (int byte = 0; byte < 4; ++byte) {
      hash_ = (hash_ ^ ((static_cast<uint32_t>(value) >> (8 * byte)) & 0xff)) * 0x100000001b3u;
    }
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

uint64_t HashOfSelections(const std::string& name) {
  const TestSequence sequence =
      MakeRandomSequence({.shape = {3, 2, 3, 32, 600}, .num_tokens = 700}, 7);
  Hash hash;
  for (const double factor : {0.0, 2.0}) {
    if (factor > 0 && !HasSemanticFactor(name)) continue;
    for (const HeadSelections& rows : RunPolicy(sequence, {name, 64, factor}, 16, 1)) {
      for (const std::vector<PositionRange>& row : rows) {
        for (const PositionRange& range : row) {
          hash.Add(range.begin);
          hash.Add(range.end);
        }
      }
    }
  }
  return hash.value();
}

TEST(PolicyRevisionTest, APolicyThatSelectsOtherwiseHasAnotherRevision) {
  const std::string revision = "/r5";
  const std::map<std::string, uint64_t> hashes = {
      {"chunk", 13249868739102851361u},
      {"h2o", 13743943831813015621u},
      {"infllm", 5212946893814304658u},
      {"oracle_sentence", 7657361731034051271u},
      {"oracle_sentence_per_token", 16645740039080379886u},
      {"oracle_topk", 2190918919360539045u},
      {"pyramidkv", 5598402727301340285u},
      {"quest", 759713087118400448u},
      {"random", 10773140313721172853u},
      {"sentencekv", 7718920454794824787u},
      {"sentencekv_colm2025", 10356917849058582560u},
      {"snapkv", 4673042150199105401u},
      {"streaming", 14049987753594151333u}};
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
