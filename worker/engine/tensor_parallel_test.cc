// Groups of one, two and three ranks, as threads over shared memory.

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <thread>

#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "worker/comm/shm_communicator.h"
#include "worker/engine/testing/local_engine.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

using kernels::QuantType;

constexpr int kPromptTokens = 150, kNewTokens = 20;

class RankGroup {
 public:
  RankGroup(const std::string& model_path, int world_size)
      : world_size_(world_size),
        options_{.model_path = model_path,
                 .num_threads = 1,
                 .kv_cache_memory_bytes = 16 << 20,
                 .max_num_batched_tokens = 64} {
    std::string folder = "/dev/shm/skv_engine_test_XXXXXX";
    const char* made = mkdtemp(folder.data());
    folder_ = made == nullptr ? "/nonexistent" : made;
  }
  ~RankGroup() { std::filesystem::remove_all(folder_); }

  // Of the requests that follow.
  void Explain(const policy::PolicyParams& policy, int top) {
    policy_ = policy;
    explain_top_ = top;
  }
  // `samples` gets those of all ranks.
  void Audit(double fraction, const policy::PolicyParams& policy,
             std::vector<policy::AuditSample>* samples) {
    audit_fraction_ = fraction;
    policy_ = policy;
    audit_samples_ = samples;
  }

  void CopyRows(const policy::PolicyParams& policy) {
    policy_ = policy;
    options_.kv_placement = "copied";
  }

  struct Result {
    std::vector<TokenId> tokens;
    std::map<int, uint64_t> logit_hashes;  // by position
    std::vector<Explanation> explanations;
    policy::RecallCounts recall;
  };
  Result Generate() {
    const auto description = DescribeModel(options_.model_path);
    EXPECT_OK(description);
    std::vector<std::thread> followers;
    for (int rank = 1; rank < world_size_; ++rank) {
      followers.emplace_back([&, rank] { Follow(rank, *description); });
    }
    Result result;
    Lead(*description, &result);
    for (std::thread& follower : followers) follower.join();
    return result;
  }

 private:
  std::unique_ptr<comm::Communicator> Join(int rank) {
    comm::ShmOptions shm;
    shm.path = folder_ + "/group";
    shm.rank = rank;
    shm.world_size = world_size_;
    auto group = comm::JoinShmGroup(shm);
    EXPECT_OK(group);
    return std::move(group).value();
  }

  void Follow(int rank_idx, const ModelDescription& description) {
    const auto group = Join(rank_idx);
    ASSERT_OK_AND_ASSIGN(const auto rank,
                         Rank::Open(options_, description, group.get(), RealClock()));
    StartAudit(rank.get());
    EXPECT_OK(RunFollower(rank->executor(), group.get()));
  }

  void StartAudit(Rank* rank) {
    rank->executor()->StartAudit(audit_fraction_, [this](const auto&, const auto& samples) {
      MutexLock lock(&mutex_);
      audit_samples_->insert(audit_samples_->end(), samples.begin(), samples.end());
    });
  }

  void Lead(const ModelDescription& description, Result* result) {
    const auto group = Join(0);
    ASSERT_OK_AND_ASSIGN(const auto rank,
                         Rank::Open(options_, description, group.get(), RealClock()));
    StartAudit(rank.get());
    const EngineOptions options = rank->MakeEngineOptions(
        description, /*max_num_seqs=*/4, options_.max_num_batched_tokens, /*max_queue=*/4);
    StepRecorder recorder(options.vocab_size);
    Engine engine(options, rank->executor(), group.get(), RealClock(), &recorder);
    std::thread thread([&] { EXPECT_OK(engine.Run()); });
    GenerationRequest request;
    std::mt19937 random(5);
    for (int i = 0; i < kPromptTokens; ++i) request.prompt_ids.push_back(random() % 256);
    request.params.temperature = 0;
    request.params.ignore_eos = true;
    request.seeds = {1};
    request.max_tokens = kNewTokens;
    request.policy = policy_;
    request.explain_top = explain_top_;
    auto sink = std::make_shared<CollectingSink>();
    EXPECT_OK(engine.Submit(std::move(request), sink));
    EXPECT_TRUE(sink->WaitForFinish());
    engine.Shutdown();
    thread.join();
    *result = {sink->tokens(), recorder.logit_hashes(1), sink->explanations(),
               sink->finish().recall};
  }

  const int world_size_;
  RankOptions options_;
  policy::PolicyParams policy_;
  int explain_top_ = 0;
  double audit_fraction_ = 0;
  Mutex mutex_;
  std::vector<policy::AuditSample>* audit_samples_ SKV_GUARDED_BY(mutex_) = nullptr;
  std::string folder_;
};

void ExpectEqualBitsForEverySize(const loader::TinyLlamaOptions& options) {
  const loader::TinyLlamaFile model(options);
  const RankGroup::Result want = RankGroup(model.path(), 1).Generate();
  ASSERT_EQ(want.logit_hashes.size(), size_t{kNewTokens});
  for (const int world_size : {2, 3}) {
    SCOPED_TRACE(testing::Message() << world_size << " ranks");
    const RankGroup::Result got = RankGroup(model.path(), world_size).Generate();
    EXPECT_EQ(got.tokens, want.tokens);
    EXPECT_EQ(got.logit_hashes, want.logit_hashes);
  }
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheLogitBitsOfOne) {
  ExpectEqualBitsForEverySize(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});  // 3.5 segments
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheLogitBitsOfOneWithBlocksOf256) {
  ExpectEqualBitsForEverySize({.hidden = 256,
                               .num_heads = 12,
                               .num_kv_heads = 3,
                               .head_dim = 64,
                               .ffn = 768,
                               .weight_type = QuantType::kQ4_K,
                               .value_type = QuantType::kQ6_K});
}

// Ranks of one and two KV heads: their slots differ in bytes.
TEST(TensorParallelTest, EveryNumberOfRanksGivesTheBitsOfOneFromWorkingSets) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  const policy::PolicyParams policy{.name = "sentencekv", .budget_tokens = 32};
  const auto logits = [&](int world_size) {
    RankGroup group(model.path(), world_size);
    group.CopyRows(policy);
    return group.Generate().logit_hashes;
  };
  const auto want = logits(1);
  ASSERT_EQ(want.size(), size_t{kNewTokens});
  EXPECT_EQ(logits(2), want);
  EXPECT_EQ(logits(3), want);
}

TEST(TensorParallelTest, EveryNumberOfRanksGivesTheExplanationsOfOne) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  for (const std::string_view policy : policy::PolicyNames()) {
    SCOPED_TRACE(policy);
    std::vector<std::vector<Explanation>> explanations;
    for (const int world_size : {1, 2, 3}) {
      RankGroup group(model.path(), world_size);
      group.Explain({.name = std::string(policy), .budget_tokens = 64}, /*top=*/8);
      explanations.push_back(group.Generate().explanations);
    }
    ASSERT_FALSE(explanations[0].empty());
    EXPECT_FALSE(explanations[0][0].reads.empty());
    EXPECT_EQ(explanations[1], explanations[0]);
    EXPECT_EQ(explanations[2], explanations[0]);
  }
}

TEST(TensorParallelTest, EveryNumberOfRanksKeepsAndCountsMinRecallAsOne) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  std::vector<RankGroup::Result> results;
  for (const int world_size : {1, 2, 3}) {
    RankGroup group(model.path(), world_size);
    group.Explain({.name = "sentencekv", .budget_tokens = 32, .min_recall = 0.2}, /*top=*/8);
    results.push_back(group.Generate());
  }
  EXPECT_GT(results[0].recall.widened, 0);
  EXPECT_LT(results[0].recall.widened, results[0].recall.checked);
  for (const RankGroup::Result& result : results) {
    EXPECT_EQ(result.logit_hashes, results[0].logit_hashes);
    EXPECT_EQ(result.recall, results[0].recall);
    EXPECT_EQ(result.explanations, results[0].explanations);
  }
}

TEST(TensorParallelTest, TheRanksTogetherAuditWhatOneAuditsAndNoBitChanges) {
  const loader::TinyLlamaFile model(
      {.num_heads = 6, .num_kv_heads = 3, .head_dim = 32, .ffn = 448});
  const policy::PolicyParams policy{.name = "sentencekv", .budget_tokens = 32};
  RankGroup plain(model.path(), 1);
  plain.Explain(policy, 0);
  const RankGroup::Result want = plain.Generate();
  std::vector<std::vector<std::pair<float, float>>> audits;
  for (const int world_size : {1, 2, 3}) {
    RankGroup group(model.path(), world_size);
    std::vector<policy::AuditSample> samples;
    group.Audit(0.5, policy, &samples);
    EXPECT_EQ(group.Generate().logit_hashes, want.logit_hashes);
    audits.emplace_back();
    for (const policy::AuditSample& s : samples)
      audits.back().emplace_back(s.recall, s.output_error);
    std::ranges::sort(audits.back());
  }
  ASSERT_FALSE(audits[0].empty());
  EXPECT_LT(audits[0][0].first, 1) << "the budget leaves tokens out";
  EXPECT_EQ(audits[1], audits[0]);
  EXPECT_EQ(audits[2], audits[0]);
}

}  // namespace
}  // namespace skv::engine
