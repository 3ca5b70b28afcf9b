// Random operations against a plain model of the ranks and of the clients: whatever happens, each
// plan must be one that the ranks can run, and each sequence must get its tokens. Memory is that of
// the ranks, pools of exactly the capacity: what is admitted must fit, however fragmented they are.

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/sequence_cache.h"
#include "worker/kv/working_set.h"
#include "worker/scheduler/capacity.h"
#include "worker/scheduler/scheduler.h"

namespace skv::scheduler {
namespace {

constexpr kv::KvLayout kLayout{
    .num_layers = 1, .num_kv_heads = 1, .head_dim = 32, .element_bytes = 2};

struct Client {
  int request = 0;
  std::vector<TokenId> tokens;  // prompt and generated
};

struct RequestModel {
  std::vector<TokenId> prompt;
  std::vector<int> sentence_ends;
  std::vector<SequenceId> samples;
  PrefixKey prefix_root;
  int max_cached_tokens = 0;
  policy::PolicyParams policy;
  int max_tokens = 0;
  int priority = 0;
};

class Simulation {
 public:
  Simulation(const SchedulerOptions& options, int seed)
      : options_(options),
        scheduler_(options),
        pool_(*kv::KvPool::Create(kLayout, options.capacity_tokens)),
        slots_(kLayout, options.capacity_slots),
        random_(seed) {}

  void Run(int num_steps) {
    for (int i = 0; i < num_steps && !testing::Test::HasFailure(); ++i) {
      const int num_new = Draw(0, 9) < 4 ? Draw(1, 3) : 0;
      for (int k = 0; k < num_new; ++k) AddRequest();
      if (Draw(0, 9) == 0) WithRandomClient([&](SequenceId id) { Cancel(id); });
      if (Draw(0, 19) == 0) WithRandomClient([&](SequenceId id) { scheduler_.Preempt(id); });
      if (Draw(0, 9) == 0) WithRandomClient([&](SequenceId id) { TellWhatIsIgnored(id); });
      Step();
    }
    // Each step with work moves at least one token or look-up, so that the rest is bounded.
    const auto goes_on = [&] { return scheduler_.HasWork() || scheduler_.is_holding(); };
    for (int i = 0; i < 20000 && goes_on() && !testing::Test::HasFailure(); ++i) Step();
    EXPECT_FALSE(goes_on());
    EXPECT_TRUE(held_.empty());
    EXPECT_TRUE(asked_.empty() && waiting_.empty() && again_.empty());
    EXPECT_EQ(pool_->used_bytes(), 0u);
    EXPECT_EQ(slots_.used_slots(), 0);
    EXPECT_TRUE(live_.empty());
    const SchedulerStats stats = scheduler_.stats();
    EXPECT_EQ(stats.kv_tokens_reserved, 0);
    EXPECT_EQ(stats.slots_reserved, 0);
    EXPECT_EQ(stats.num_running + stats.num_waiting + stats.num_running_sequences, 0);
    EXPECT_EQ(stats.queued_tokens + stats.running_tokens, 0);
  }

  int64_t num_mixed_steps() const { return num_mixed_steps_; }
  int64_t num_preemptions() const { return scheduler_.stats().num_preemptions; }
  int64_t num_forks() const { return num_forks_; }
  int num_finished() const { return num_finished_; }
  int64_t num_cached_tokens() const { return num_cached_tokens_; }
  int64_t num_waits() const { return num_waits_; }
  const std::string& plans() const { return plans_; }  // encoded, all of them
  double most_used() const { return most_used_; }
  double most_slots_used() const { return most_slots_used_; }

 private:
  int Draw(int min, int max) { return std::uniform_int_distribution<int>(min, max)(random_); }

  template <typename Action>
  void WithRandomClient(Action action) {
    if (live_.empty()) return;
    auto it = live_.lower_bound(static_cast<SequenceId>(Draw(0, static_cast<int>(next_id_))));
    action(it == live_.end() ? *live_.begin() : *it);
  }

  void AddRequest() {
    RequestModel model{.max_tokens = Draw(1, 30), .priority = Draw(0, 2)};
    model.prompt.resize(Draw(1, 60));
    for (TokenId& token : model.prompt) token = Draw(0, 999);
    if (Draw(0, 4) > 0) model.sentence_ends = DrawSentenceEnds(model.prompt.size());
    if (Draw(0, 3) > 0) model.policy = {.name = "sentencekv", .budget_tokens = Draw(16, 40)};
    const int num_prompt_tokens = static_cast<int>(model.prompt.size());
    if (num_prompt_tokens > 1 && Draw(0, 2) > 0) {
      model.prefix_root.bytes[0] = Draw(1, 255);
      model.max_cached_tokens = Draw(1, num_prompt_tokens - 1);
    }
    Request request{.prompt_ids = model.prompt,
                    .sentence_ends = model.sentence_ends,
                    .prefix_root = model.prefix_root,
                    .max_cached_tokens = model.max_cached_tokens,
                    .policy = model.policy,
                    .max_tokens = model.max_tokens,
                    .priority = model.priority};
    const int num_samples = Draw(0, 3) == 0 ? Draw(2, 4) : 1;
    if (num_samples == 1) request.resume_ids.resize(Draw(0, model.max_tokens - 1), 77);
    for (int i = 0; i < num_samples; ++i) model.samples.push_back(next_id_++);
    request.sample_ids = model.samples;
    if (!scheduler_.Add(request).ok()) return;
    for (const SequenceId id : model.samples) {
      Client& client = clients_[id];
      client = {.request = static_cast<int>(requests_.size()), .tokens = model.prompt};
      client.tokens.insert(client.tokens.end(), request.resume_ids.begin(),
                           request.resume_ids.end());
      live_.insert(id);
    }
    requests_.push_back(std::move(model));
  }

  std::vector<int> DrawSentenceEnds(int num_prompt_tokens) {
    std::vector<int> ends;
    const int max_sentence = Draw(1, 30);
    for (int end = Draw(1, max_sentence); end <= num_prompt_tokens; end += Draw(1, max_sentence)) {
      ends.push_back(end);
    }
    return ends;
  }

  void Cancel(SequenceId id) {
    scheduler_.Cancel(id);
    live_.erase(id);
  }

  void Step() {
    LookUpAgain();
    const bool has_work = scheduler_.HasWork();
    const bool answers_missing = !asked_.empty();
    const PlannedStep step = scheduler_.Plan();
    if (!answers_missing) {
      ASSERT_EQ(has_work, !step.empty());
    }
    const std::string bytes = Encode(step.plan);
    ASSERT_OK_AND_ASSIGN(const StepPlan decoded, Decode(bytes));
    ASSERT_EQ(decoded, step.plan);
    plans_ += bytes;
    ApplyMemory(step.plan);
    ApplyLookUps(step.plan);
    CheckOrder(step.plan);
    const std::set<SequenceId> due = DueDecodes();
    ApplyChunks(step.plan);
    CheckDecodesRan(due, step.plan);
    CheckCapacity();
    AnswerLookUps();
    AnswerDraws(step);
  }

  // Neither an answer to nobody's look-up nor a look-up of a sequence that does not wait.
  void TellWhatIsIgnored(SequenceId id) {
    if (!asked_.contains(id)) scheduler_.OnLookUp(id, {.in_progress = Draw(0, 1) == 1});
    if (!waiting_.contains(id) && !again_.contains(id)) scheduler_.LookUpAgain(id, true);
  }

  void LookUpAgain() {
    std::set<SequenceId> still_waiting;
    for (const SequenceId id : waiting_) {
      if (Draw(0, 2) > 0) {
        still_waiting.insert(id);
        continue;
      }
      bool may_wait = true;
      for (int i = Draw(1, 2); i > 0; --i) {
        const bool this_may = Draw(0, 2) > 0;
        scheduler_.LookUpAgain(id, this_may);
        may_wait = may_wait && this_may;
      }
      again_[id] = may_wait;
    }
    waiting_ = std::move(still_waiting);
  }

  void ApplyMemory(const StepPlan& plan) {
    for (const SequenceId id : plan.released) {
      ASSERT_EQ(held_.erase(id), 1u) << "released " << id << ", which holds nothing";
      caches_.erase(id);
      working_sets_.erase(id);
      asked_.erase(id);
      waiting_.erase(id);
      again_.erase(id);
    }
    for (const Admission& admission : plan.admitted) {
      const RequestModel& request = CheckedRequest(admission.id);
      ASSERT_TRUE(held_.emplace(admission.id, 0).second) << "admitted twice";
      ASSERT_EQ(admission.num_prompt_tokens, static_cast<int>(request.prompt.size()));
      ASSERT_EQ(admission.max_tokens_total, admission.num_prompt_tokens + request.max_tokens);
      ASSERT_EQ(admission.sentence_ends, request.sentence_ends);
      ASSERT_EQ(admission.max_cached_tokens, request.max_cached_tokens);
      ASSERT_EQ(admission.prefix_root, request.prefix_root);
      const bool looks_up = request.max_cached_tokens > 0;
      ASSERT_EQ(admission.prompt_ids, looks_up ? request.prompt : std::vector<TokenId>());
      if (looks_up) asked_[admission.id] = true;
      caches_[admission.id] = std::make_unique<kv::SequenceCache>(
          pool_.get(), admission.num_prompt_tokens, admission.sentence_ends);
      const bool copied = options_.working_set_factor > 0 && request.policy.name != "full";
      ASSERT_EQ(admission.num_slots > 0, copied);
      if (copied) MakeWorkingSet(admission.id, admission.num_slots);
    }
    for (const Fork& fork : plan.forked) {
      const RequestModel& request = CheckedRequest(fork.child);
      ASSERT_EQ(fork.num_shared_tokens, static_cast<int>(request.prompt.size()));
      ASSERT_EQ(fork.max_tokens_total, fork.num_shared_tokens + request.max_tokens);
      ASSERT_EQ(clients_[fork.parent].request, clients_[fork.child].request);
      ASSERT_GE(held_.at(fork.parent), fork.num_shared_tokens);
      ASSERT_TRUE(held_.emplace(fork.child, fork.num_shared_tokens).second) << "forked twice";
      caches_[fork.child] = caches_.at(fork.parent)->ForkPrompt();
      if (const auto it = working_sets_.find(fork.parent); it != working_sets_.end()) {
        MakeWorkingSet(fork.child, it->second->num_slots());
      }
      ++num_forks_;
    }
  }

  void MakeWorkingSet(SequenceId id, int num_slots) {
    ASSERT_OK_AND_ASSIGN(working_sets_[id], kv::WorkingSet::Create(&slots_, num_slots));
  }

  // Exactly those look up again that were told to.
  void ApplyLookUps(const StepPlan& plan) {
    std::map<SequenceId, bool> planned;
    for (const LookUp& lookup : plan.lookups) {
      ASSERT_TRUE(planned.emplace(lookup.id, lookup.may_wait).second) << "looks up twice";
    }
    ASSERT_EQ(planned, again_);
    asked_.merge(again_);
    ASSERT_TRUE(again_.empty()) << "looks up before its answer";
    ASSERT_EQ(scheduler_.stats().num_held, static_cast<int>(waiting_.size()));
    ASSERT_EQ(scheduler_.is_holding(), !waiting_.empty());
  }

  // Some answers come a step late, some when their sequence has left.
  void AnswerLookUps() {
    std::map<SequenceId, bool> missing;
    for (const auto& [id, may_wait] : asked_) {
      if (Draw(0, 19) == 0) {
        missing[id] = may_wait;
        continue;
      }
      if (Draw(0, 19) == 0) Cancel(id);
      if (Draw(0, 19) == 0) scheduler_.Preempt(id);
      if (may_wait && Draw(0, 2) == 0) {
        scheduler_.OnLookUp(id, {.num_cached_tokens = -1, .in_progress = true});
        waiting_.insert(id);
        ++num_waits_;
      } else {
        AnswerWithHit(id);
      }
    }
    asked_ = std::move(missing);
  }

  void AnswerWithHit(SequenceId id) {
    const RequestModel& request = requests_[clients_[id].request];
    const int num_cached = Draw(0, request.max_cached_tokens);
    ASSERT_EQ(held_.at(id), 0);
    ASSERT_OK(caches_.at(id)->Reserve(num_cached));
    caches_.at(id)->Commit();
    held_[id] = num_cached;
    const int num_tokens = static_cast<int>(request.prompt.size());
    scheduler_.OnLookUp(id, {.num_cached_tokens = num_cached,
                             .private_kv_tokens = PromptKvTokens(num_tokens, request.sentence_ends,
                                                                 options_.unit_tokens)});
    num_cached_tokens_ += num_cached;
  }

  // Planning a sequence that has ended is the fault that this catches.
  const RequestModel& CheckedRequest(SequenceId id) {
    EXPECT_TRUE(live_.contains(id)) << id << " has ended or never was";
    return requests_[clients_[id].request];
  }

  // A request is admitted before all that rank behind it, and only lower priorities are evicted.
  void CheckOrder(const StepPlan& plan) {
    std::set<std::pair<int, int>> waiting;  // (-priority, arrival)
    for (const SequenceId id : live_) {
      const int request = clients_[id].request;
      const auto& samples = requests_[request].samples;
      if (std::none_of(samples.begin(), samples.end(),
                       [&](SequenceId sample) { return held_.contains(sample); })) {
        waiting.emplace(-requests_[request].priority, request);
      }
    }
    for (const Admission& admission : plan.admitted) {
      const int request = clients_[admission.id].request;
      if (waiting.empty()) break;
      ASSERT_LT(std::make_pair(-requests_[request].priority, request), *waiting.begin());
    }
  }

  std::set<SequenceId> DueDecodes() const {
    std::set<SequenceId> due;
    for (const auto& [id, num_held] : held_) {
      const Client& client = clients_.at(id);
      const int num_prompt_tokens = requests_[client.request].prompt.size();
      if (live_.contains(id) && num_held >= num_prompt_tokens &&
          num_held + 1 == static_cast<int>(client.tokens.size())) {
        due.insert(id);
      }
    }
    return due;
  }

  void ApplyChunks(const StepPlan& plan) {
    ASSERT_LE(static_cast<int>(plan.tokens.size()), options_.max_num_batched_tokens);
    std::map<SequenceId, int> tokens_of;
    size_t next_token = 0;
    for (const Chunk& chunk : plan.chunks) {
      const int num_prompt_tokens = CheckedRequest(chunk.id).prompt.size();
      ASSERT_FALSE(asked_.contains(chunk.id)) << "its look-up is not answered";
      ASSERT_FALSE(waiting_.contains(chunk.id)) << "it waits for others";
      ASSERT_EQ(chunk.first_position, held_.at(chunk.id));
      const bool is_prompt = chunk.position_class == PositionClass::kPrompt;
      if (is_prompt) {
        ASSERT_LE(chunk.first_position + chunk.num_tokens, num_prompt_tokens);
      } else {
        ASSERT_GE(chunk.first_position, num_prompt_tokens);
      }
      for (int i = 0; i < chunk.num_tokens; ++i) {
        ASSERT_EQ(plan.tokens.at(next_token++),
                  clients_[chunk.id].tokens.at(chunk.first_position + i));
      }
      ASSERT_OK(caches_.at(chunk.id)->Reserve(chunk.num_tokens));
      caches_.at(chunk.id)->Commit();
      held_[chunk.id] += chunk.num_tokens;
      tokens_of[chunk.id] += chunk.num_tokens;
      ASSERT_LE(tokens_of[chunk.id], options_.max_chunk_tokens);
    }
    ASSERT_EQ(next_token, plan.tokens.size());
    const auto is_decode = [](const Chunk& c) {
      return c.num_tokens == 1 && c.position_class == PositionClass::kGenerated;
    };
    const auto num_decodes = std::count_if(plan.chunks.begin(), plan.chunks.end(), is_decode);
    num_mixed_steps_ += num_decodes > 0 && num_decodes < static_cast<int>(plan.chunks.size());
  }

  void CheckDecodesRan(std::set<SequenceId> due, const StepPlan& plan) {
    for (const Chunk& chunk : plan.chunks) due.erase(chunk.id);
    ASSERT_TRUE(due.empty()) << "sequence " << *due.begin() << " had to wait for its decode";
  }

  void CheckCapacity() {
    const int64_t used_tokens = pool_->used_bytes() / kLayout.TokenBytes();
    ASSERT_LE(used_tokens, scheduler_.stats().kv_tokens_reserved);
    ASSERT_LE(scheduler_.stats().kv_tokens_reserved, options_.capacity_tokens);
    ASSERT_LE(slots_.used_slots(), scheduler_.stats().slots_reserved);
    ASSERT_LE(scheduler_.stats().slots_reserved, options_.capacity_slots);
    ASSERT_LE(static_cast<int>(held_.size()), options_.max_num_seqs);
    most_used_ = std::max(most_used_, double(used_tokens) / pool_->capacity_tokens());
    most_slots_used_ =
        std::max(most_slots_used_, double(slots_.used_slots()) / (slots_.capacity_slots() + 1));
  }

  void AnswerDraws(const PlannedStep& step) {
    std::set<int> wanted;
    for (const ::skv::scheduler::Draw& draw : step.draws) {
      const Chunk& chunk = step.plan.chunks.at(draw.chunk_idx);
      Client& client = clients_[draw.id];
      wanted.insert(draw.chunk_idx);
      ASSERT_EQ(draw.position, static_cast<int>(client.tokens.size()));
      ASSERT_EQ(chunk.first_position + chunk.num_tokens, draw.position);
      ASSERT_EQ(clients_[chunk.id].request, client.request);
      if (Draw(0, 49) == 0) {
        Cancel(draw.id);
        ASSERT_FALSE(scheduler_.OnToken(draw.id, 1, true));
        continue;
      }
      client.tokens.push_back(Draw(0, 999));
      const bool finished = Draw(0, 19) == 0;
      const RequestModel& request = requests_[client.request];
      const bool ended = client.tokens.size() == request.prompt.size() + request.max_tokens;
      ASSERT_EQ(scheduler_.OnToken(draw.id, client.tokens.back(), finished), finished || ended);
      if (!finished && !ended) continue;
      live_.erase(draw.id);
      ++num_finished_;
    }
    for (size_t i = 0; i < step.plan.chunks.size(); ++i) {
      ASSERT_EQ(step.plan.chunks[i].sample, wanted.contains(static_cast<int>(i)));
    }
  }

  const SchedulerOptions options_;
  Scheduler scheduler_;
  const std::unique_ptr<kv::KvPool> pool_;
  kv::SlotPool slots_;
  std::mt19937 random_;
  std::vector<RequestModel> requests_;
  std::map<SequenceId, Client> clients_;
  std::set<SequenceId> live_;
  std::map<SequenceId, int> held_;  // KV tokens of each sequence on the ranks
  std::map<SequenceId, std::unique_ptr<kv::SequenceCache>> caches_;
  std::map<SequenceId, std::unique_ptr<kv::WorkingSet>> working_sets_;
  // Look-ups without an answer, and those that the next plan has to name: may_wait by id.
  std::map<SequenceId, bool> asked_;
  std::map<SequenceId, bool> again_;
  std::set<SequenceId> waiting_;  // for what others are computing
  std::string plans_;
  SequenceId next_id_ = 1;
  int64_t num_mixed_steps_ = 0;
  int64_t num_forks_ = 0;
  int num_finished_ = 0;
  int64_t num_cached_tokens_ = 0;
  int64_t num_waits_ = 0;
  double most_used_ = 0;  // of the pool, 0 to 1
  double most_slots_used_ = 0;
};

SchedulerOptions OptionsOf(int64_t capacity_tokens, int max_num_seqs, int max_num_batched_tokens,
                           int max_chunk_tokens, int max_queue) {
  return {.capacity_tokens = capacity_tokens,
          .unit_tokens = kv::kUnitTokens,
          .page_tokens = kv::kSlotsPerPage,
          .max_num_seqs = max_num_seqs,
          .max_num_batched_tokens = max_num_batched_tokens,
          .max_chunk_tokens = max_chunk_tokens,
          .max_queue = max_queue};
}

SchedulerOptions WithSlots(int64_t capacity_tokens, int64_t capacity_slots) {
  SchedulerOptions options = OptionsOf(capacity_tokens, 8, 32, 32, 20);
  options.working_set_factor = 1.5;
  options.capacity_slots = capacity_slots;
  return options;
}

TEST(SchedulerRandomTest, EveryPlanCanBeRunAndEverySequenceEnds) {
  const SchedulerOptions kOptions[] = {
      OptionsOf(256, 6, 32, 32, 20),
      OptionsOf(500, 8, 8, 3, 50),
      OptionsOf(100000, 12, 64, 16, 10),
      OptionsOf(192, 4, 512, 512, 5),
      // Slots, not KV memory, are what is scarce.
      WithSlots(100000, 150),
      WithSlots(500, 90),
  };
  int64_t num_preemptions = 0, num_mixed_steps = 0, num_forks = 0, num_finished = 0;
  int64_t num_cached_tokens = 0, num_waits = 0;
  double most_used = 0, most_slots_used = 0;
  for (const SchedulerOptions& options : kOptions) {
    ASSERT_OK(options.Validate());
    for (int seed = 0; seed < 25; ++seed) {
      SCOPED_TRACE(testing::Message() << "capacity " << options.capacity_tokens << " slots "
                                      << options.capacity_slots << " seed " << seed);
      Simulation simulation(options, seed);
      simulation.Run(200);
      if (HasFailure()) return;
      num_preemptions += simulation.num_preemptions();
      num_mixed_steps += simulation.num_mixed_steps();
      num_forks += simulation.num_forks();
      num_finished += simulation.num_finished();
      num_cached_tokens += simulation.num_cached_tokens();
      num_waits += simulation.num_waits();
      most_used = std::max(most_used, simulation.most_used());
      most_slots_used = std::max(most_slots_used, simulation.most_slots_used());
    }
  }
  // The test has met what it is about.
  EXPECT_GT(num_preemptions, 500);
  EXPECT_GT(num_mixed_steps, 1000);
  EXPECT_GT(num_forks, 500);
  EXPECT_GT(num_finished, 2000);
  EXPECT_GT(most_used, 0.95);
  EXPECT_GT(most_slots_used, 0.9);
  EXPECT_GT(num_cached_tokens, 20000);
  EXPECT_GT(num_waits, 1000);
}

TEST(SchedulerRandomTest, EqualCallsGiveEqualPlans) {
  for (int seed = 0; seed < 5; ++seed) {
    Simulation first(WithSlots(500, 90), seed), second(WithSlots(500, 90), seed);
    first.Run(200);
    second.Run(200);
    EXPECT_TRUE(first.plans() == second.plans()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace skv::scheduler
