#include "worker/policy/testing/policy_driver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/testing/status_matchers.h"

namespace skv::policy {
namespace {

PolicyDriver::Creator CreatorOf(const PolicyParams& params) {
  return [params](const SequenceShape& shape, const std::vector<Sentence>* sentences) {
    auto policy = CreatePolicy(params, shape, sentences);
    EXPECT_OK(policy);
    return std::move(policy).value();
  };
}

}  // namespace

void PrintTo(const PositionRange& range, std::ostream* out) {
  *out << "[" << range.begin << ", " << range.end << ")";
}

PolicyDriver::PolicyDriver(const TestSequence& sequence, const Creator& create)
    : sequence_(sequence), policy_(create(sequence.shape, &sentences_)), selections_(NumHeads()) {}

PolicyDriver::PolicyDriver(const TestSequence& sequence, const PolicyParams& params)
    : PolicyDriver(sequence, CreatorOf(params)) {}

PolicyDriver::PolicyDriver(const TestSequence& sequence, const PolicyDriver& parent)
    : sequence_(sequence),
      policy_(parent.policy_->ForkPrompt(&sentences_)),
      next_(sequence.shape.num_prompt_tokens),
      selections_(NumHeads()) {}

void PolicyDriver::RunTo(int end, int max_step, std::mt19937& random) {
  const int prompt = sequence_.shape.num_prompt_tokens;
  while (next_ < end) {
    const int step = 1 + static_cast<int>(random() % max_step);
    const int step_end = std::min({next_ + step, next_ < prompt ? prompt : end, end});
    sentences_ = sequence_.SentencesKnownBefore(step_end);
    for (int head = 0; head < NumHeads(); ++head) StepHead(head, step_end);
    next_ = step_end;
  }
}

void PolicyDriver::StepOnThreads(int end) {
  sentences_ = sequence_.SentencesKnownBefore(end);
  std::vector<std::thread> threads;
  for (int head = 0; head < NumHeads(); ++head) {
    threads.emplace_back([this, head, end] { StepHead(head, end); });
  }
  for (std::thread& thread : threads) thread.join();
  next_ = end;
}

void PolicyDriver::StepHead(int number, int end) {
  const SequenceShape& shape = sequence_.shape;
  const int layer = number / shape.num_kv_heads, head = number % shape.num_kv_heads;
  const FakeKv kv(&sequence_, layer, head, end);
  const HeadView view = {layer, head, &kv};
  const int64_t stride = int64_t{shape.group_size} * shape.head_dim;
  if (next_ < shape.num_prompt_tokens) {
    policy_->OnPrompt(view, {sequence_.Query(layer, head, next_), stride, next_, end - next_});
    return;
  }
  for (int t = next_; t < end; ++t) {
    std::vector<PositionRange> attended;
    policy_->Select(view, {sequence_.Query(layer, head, t), stride, t, 1}, &attended);
    selections_[number].push_back(attended);
  }
}

Selections RunPolicy(const TestSequence& sequence, const PolicyDriver::Creator& create,
                     int max_step, uint32_t seed) {
  std::mt19937 random(seed);
  PolicyDriver driver(sequence, create);
  driver.RunTo(sequence.num_tokens, max_step, random);
  return driver.selections();
}

Selections RunPolicy(const TestSequence& sequence, const PolicyParams& params, int max_step,
                     uint32_t seed) {
  return RunPolicy(sequence, CreatorOf(params), max_step, seed);
}

void CheckWellFormed(const TestSequence& sequence, const Selections& selections) {
  for (const HeadSelections& rows : selections) {
    for (size_t i = 0; i < rows.size(); ++i) {
      int end = -1;
      for (const PositionRange& range : rows[i]) {
        ASSERT_GT(range.begin, end) << "ranges that touch are one";
        ASSERT_GT(range.end, range.begin);
        end = range.end;
      }
      ASSERT_EQ(end, sequence.shape.num_prompt_tokens + static_cast<int>(i) + 1);
    }
  }
}

}  // namespace skv::policy
