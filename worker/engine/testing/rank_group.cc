#include "worker/engine/testing/rank_group.h"

#include <stdlib.h>

#include <filesystem>
#include <random>
#include <thread>
#include <utility>

#include "common/testing/status_matchers.h"
#include "worker/comm/shm_communicator.h"

namespace skv::engine {

RankGroup::RankGroup(const std::string& model_path, int world_size)
    : options_(world_size, {.model_path = model_path,
                            .num_threads = 1,
                            .kv_cache_memory_bytes = 16 << 20,
                            .max_num_batched_tokens = 64}) {
  std::string folder = "/dev/shm/skv_engine_test_XXXXXX";
  const char* made = mkdtemp(folder.data());
  folder_ = made == nullptr ? "/nonexistent" : made;
}

RankGroup::~RankGroup() { std::filesystem::remove_all(folder_); }

void RankGroup::Explain(const policy::PolicyParams& policy, int top) {
  policy_ = policy;
  explain_top_ = top;
}

void RankGroup::Audit(double fraction, const policy::PolicyParams& policy,
                      std::vector<policy::AuditSample>* samples) {
  audit_fraction_ = fraction;
  policy_ = policy;
  audit_samples_ = samples;
}

void RankGroup::CopyRows(const policy::PolicyParams& policy) {
  policy_ = policy;
  for (RankOptions& options : options_) options.kv_placement = "copied";
}

RankGroup::Result RankGroup::Generate(const Lengths& lengths) {
  GenerationRequest request;
  std::mt19937 random(5);
  for (int i = 0; i < lengths.num_prompt_tokens; ++i) request.prompt_ids.push_back(random() % 256);
  request.params.temperature = 0;
  request.params.ignore_eos = true;
  request.seeds = {1};
  request.max_tokens = lengths.num_new_tokens;
  request.policy = policy_;
  request.explain_top = explain_top_;
  Result result;
  Run([&](Engine* engine, const StepRecorder& recorder) {
    result = RunNext(engine, recorder, 1, std::move(request));
  });
  return result;
}

void RankGroup::Run(const std::function<void(Engine*, const StepRecorder&)>& act) {
  const auto description = DescribeModel(options_[0].model_path);
  EXPECT_OK(description);
  std::vector<std::thread> followers;
  for (size_t rank = 1; rank < options_.size(); ++rank) {
    followers.emplace_back([&, rank] { Follow(static_cast<int>(rank), *description); });
  }
  Lead(*description, act);
  for (std::thread& follower : followers) follower.join();
}

std::unique_ptr<comm::Communicator> RankGroup::Join(int rank) const {
  comm::ShmOptions shm;
  shm.path = folder_ + "/group";
  shm.rank = rank;
  shm.world_size = static_cast<int>(options_.size());
  auto group = comm::JoinShmGroup(shm);
  EXPECT_OK(group);
  return std::move(group).value();
}

void RankGroup::Follow(int rank_idx, const ModelDescription& description) {
  const auto group = Join(rank_idx);
  ASSERT_OK_AND_ASSIGN(const auto rank,
                       Rank::Open(options_[rank_idx], description, group.get(), RealClock()));
  StartAudit(rank.get());
  EXPECT_OK(RunFollower(rank->executor(), group.get()));
}

void RankGroup::StartAudit(Rank* rank) {
  rank->executor()->StartAudit(audit_fraction_, [this](const auto&, const auto& samples) {
    MutexLock lock(&mutex_);
    audit_samples_->insert(audit_samples_->end(), samples.begin(), samples.end());
  });
}

void RankGroup::Lead(const ModelDescription& description,
                     const std::function<void(Engine*, const StepRecorder&)>& act) {
  const auto group = Join(0);
  ASSERT_OK_AND_ASSIGN(const auto rank,
                       Rank::Open(options_[0], description, group.get(), RealClock()));
  StartAudit(rank.get());
  const EngineOptions options = rank->MakeEngineOptions(
      description, /*max_num_seqs=*/8, options_[0].max_num_batched_tokens, /*max_queue=*/8);
  StepRecorder recorder(options.vocab_size);
  Engine engine(options, rank->executor(), group.get(), RealClock(), &recorder);
  std::thread thread([&] { EXPECT_OK(engine.Run()); });
  act(&engine, recorder);
  engine.Shutdown();
  thread.join();
}

RankGroup::Result RunNext(Engine* engine, const StepRecorder& recorder, int number,
                          GenerationRequest request) {
  auto sink = std::make_shared<CollectingSink>();
  EXPECT_OK(engine->Submit(std::move(request), sink));
  EXPECT_TRUE(sink->WaitForFinish());
  const FinishEvent finish = sink->finish();
  EXPECT_OK(finish.status);
  return {sink->tokens(), recorder.logit_hashes(number), sink->explanations(), finish.recall,
          finish.num_cached_tokens};
}

}  // namespace skv::engine
