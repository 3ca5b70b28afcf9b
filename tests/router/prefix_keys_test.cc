// The router names prefixes by what a worker tells of its model. Here the two are held against each
// other: what a worker's engine looks a prompt up by, and what the router makes of the same prompt.

#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "router/grpc/group_conversions.h"
#include "worker/comm/self_communicator.h"
#include "worker/engine/testing/local_engine.h"
#include "worker/loader/testing/tiny_llama.h"
#include "worker/server/model_info.h"

namespace skv {
namespace {

constexpr const char* kText =
    "The mill stood by the river for two hundred years. Nobody had lived in it since the war. "
    "\"Look,\" she said, \"the wheel still turns!\" It did, slowly; and then it stopped.\n\n"
    "They went in. Dust lay on the stones, and on the";

// Keeps the admissions of all plans.
class AdmissionRecorder : public engine::StepObserver {
 public:
  void OnStep(const scheduler::PlannedStep& step, const std::vector<float>&) override {
    MutexLock lock(&mutex_);
    const auto& admitted = step.plan.admitted;
    admissions_.insert(admissions_.end(), admitted.begin(), admitted.end());
  }
  std::vector<scheduler::Admission> admissions() const {
    MutexLock lock(&mutex_);
    return admissions_;
  }

 private:
  mutable Mutex mutex_;
  std::vector<scheduler::Admission> admissions_ SKV_GUARDED_BY(mutex_);
};

class PrefixKeysTest : public testing::Test {
 protected:
  void Open(bool caching) {
    options_.rank = {.model_path = model_.path(),
                     .num_threads = 1,
                     .kv_cache_memory_bytes = int64_t{1} << 24,
                     .enable_prefix_caching = caching};
    options_.served_model_name = "an alias";
    options_.kv_policies.allowed = {"full", "sentencekv", "h2o"};
    ASSERT_OK_AND_ASSIGN(engine::ModelDescription description,
                         engine::DescribeModel(model_.path()));
    ASSERT_OK_AND_ASSIGN(engine_, engine::InProcessEngine::Open(
                                      {.rank = options_.rank, .observer = &recorder_},
                                      std::move(description), comm::CreateSelfCommunicator()));
  }
  std::shared_ptr<const router::ServedModel> Served() {
    const engine::EngineOptions engine_options =
        engine_->rank().MakeEngineOptions(engine_->description(), options_.max_num_seqs,
                                          /*max_num_batched_tokens=*/64, options_.max_queue);
    auto served = router::ServedModel::Create(router::FromProto(
        server::MakeModelInfo(options_, engine_->description(), engine_->rank(), engine_options)));
    EXPECT_OK(served);
    return *served;
  }
  // As the worker's ranks look it up.
  PrefixChain WorkerChain(const router::GroupRequest& request) {
    auto sink = std::make_shared<engine::CollectingSink>();
    EXPECT_OK(engine_->engine().Submit({.prompt_ids = request.prompt_ids,
                                        .seeds = {1},
                                        .max_tokens = 1,
                                        .policy = {.name = request.kv_policy.name},
                                        .cache_salt = request.cache_salt},
                                       sink));
    EXPECT_TRUE(sink->WaitForFinish());
    const scheduler::Admission admission = recorder_.admissions().back();
    if (admission.max_cached_tokens == 0) return {};
    return {PrefixKeys(admission.prefix_root, admission.prompt_ids, admission.sentence_ends),
            admission.sentence_ends, admission.max_cached_tokens};
  }

  loader::TinyLlamaFile model_{{.head_dim = 32, .context_length = 1024}};
  server::WorkerOptions options_;
  AdmissionRecorder recorder_;
  std::unique_ptr<engine::InProcessEngine> engine_;
};

TEST_F(PrefixKeysTest, RouterAndWorkerNameThePrefixesOfAPromptAlike) {
  Open(/*caching=*/true);
  const std::shared_ptr<const router::ServedModel> served = Served();
  EXPECT_EQ(served->name(), "an alias");
  ASSERT_OK_AND_ASSIGN(const std::vector<TokenId> prompt_ids,
                       served->Encode(router::TextPrompt{kText}));
  for (const char* salt : {"", "tenant 7"}) {
    for (const char* policy : {"full", "sentencekv"}) {
      SCOPED_TRACE(std::string(policy) + ", salt \"" + salt + "\"");
      const router::GroupRequest request{
          .prompt_ids = prompt_ids, .kv_policy = {.name = policy}, .cache_salt = salt};
      const PrefixChain expected = WorkerChain(request);
      const PrefixChain chain = served->PrefixOf(request);
      EXPECT_GT(expected.keys.size(), 4u);
      EXPECT_EQ(chain.keys, expected.keys);
      EXPECT_EQ(chain.ends, expected.ends);
      EXPECT_EQ(chain.max_cached_tokens, expected.max_cached_tokens);
    }
  }
}

TEST_F(PrefixKeysTest, APolicyThatReadsTheWholePromptHasNoPrefixOnEitherSide) {
  Open(/*caching=*/true);
  const std::shared_ptr<const router::ServedModel> served = Served();
  ASSERT_OK_AND_ASSIGN(const std::vector<TokenId> prompt_ids,
                       served->Encode(router::TextPrompt{kText}));
  const router::GroupRequest request{.prompt_ids = prompt_ids, .kv_policy = {.name = "h2o"}};
  EXPECT_TRUE(WorkerChain(request).keys.empty());
  EXPECT_TRUE(served->PrefixOf(request).keys.empty());
}

TEST_F(PrefixKeysTest, AWorkerThatReusesNothingNamesNoPrefixes) {
  Open(/*caching=*/false);
  const std::shared_ptr<const router::ServedModel> served = Served();
  EXPECT_FALSE(served->prefix_naming().has_value());
  ASSERT_OK_AND_ASSIGN(const std::vector<TokenId> prompt_ids,
                       served->Encode(router::TextPrompt{kText}));
  EXPECT_TRUE(
      served->PrefixOf({.prompt_ids = prompt_ids, .kv_policy = {.name = "full"}}).keys.empty());
}

}  // namespace
}  // namespace skv
