#include "worker/policy/read_watch.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/denormals.h"
#include "worker/policy/attention_mass.h"
#include "worker/policy/position_ranges.h"

namespace skv::policy {
namespace {

void RaiseTo(float value, float* largest) {
  const std::atomic_ref<float> target(*largest);
  float seen = target.load(std::memory_order_relaxed);
  while (seen < value && !target.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

// What is attended, as if it stood at positions 0, 1, 2, ...
class AttendedReader : public KvReader {
 public:
  AttendedReader(const KvReader& kv, std::span<const PositionRange> attended, int head_dim)
      : kv_(kv), attended_(attended), head_dim_(head_dim) {
    for (const PositionRange& range : attended) size_ += range.end - range.begin;
  }

  int size() const { return size_; }
  void ReadKeys(int begin, int end, float* rows) const override {
    Read(&KvReader::ReadKeys, begin, end, rows);
  }
  void ReadValues(int begin, int end, float* rows) const override {
    Read(&KvReader::ReadValues, begin, end, rows);
  }
  void ScoreKeys(const float* queries, int num_queries, std::span<const PositionRange> ranges,
                 float* scores, int64_t score_stride) const override {
    std::vector<PositionRange> positions;
    for (const PositionRange& range : ranges) {
      ForEachPart(range.begin, range.end,
                  [&](PositionRange part) { AppendRange(part, &positions); });
    }
    kv_.ScoreKeys(queries, num_queries, positions, scores, score_stride);
  }
  void CountSketchBytes(int64_t bytes) const override { kv_.CountSketchBytes(bytes); }

 private:
  // Calls take(part) for each range of true positions that [begin, end) stands for.
  template <class Take>
  void ForEachPart(int begin, int end, const Take& take) const {
    int first = 0;  // number of the range's first entry
    for (const PositionRange& range : attended_) {
      const int shift = range.begin - first;
      const int last = range.end - shift;
      const int from = std::max(begin, first), to = std::min(end, last);
      if (from < to) take(PositionRange{from + shift, to + shift});
      first = last;
    }
  }

  void Read(void (KvReader::*read)(int, int, float*) const, int begin, int end, float* rows) const {
    ForEachPart(begin, end, [&](PositionRange part) {
      (kv_.*read)(part.begin, part.end, rows);
      rows += int64_t{part.end - part.begin} * head_dim_;
    });
  }

  const KvReader& kv_;
  const std::span<const PositionRange> attended_;
  const int head_dim_;
  int size_ = 0;
};

}  // namespace

ReadWatch::ReadWatch(const SequenceShape& shape, std::vector<int> sentence_ends)
    : shape_(shape), sentence_ends_(std::move(sentence_ends)) {}

void ReadWatch::BeginStep(int first_position, int num_rows) {
  first_position_ = first_position;
  reads_.assign(int64_t{num_rows} * 2 * num_sentences(), 0.0f);
}

void ReadWatch::Measure(const HeadView& view, const QueryRows& query,
                        std::span<const PositionRange> attended) {
  const kernels::FlushDenormals flush;
  const AttendedReader reader(*view.kv, attended, shape_.head_dim);
  AttentionMass& mass = ThreadAttentionMass();
  ComputeAttentionMass(reader, query.data, reader.size(), shape_.group_size, shape_.head_dim,
                       &mass);
  std::vector<float> shares(int64_t{shape_.group_size} * num_sentences(), 0.0f);
  std::vector<int> tokens(num_sentences(), 0);
  int key = 0, sentence = 0;
  for (const PositionRange& range : attended) {
    for (int position = range.begin; position < range.end; ++position, ++key) {
      if (position >= shape_.num_prompt_tokens) break;
      while (position >= sentence_ends_[sentence]) ++sentence;
      ++tokens[sentence];
      if (position < kSinkTokens) continue;
      for (int h = 0; h < shape_.group_size; ++h) {
        shares[int64_t{h} * num_sentences() + sentence] +=
            mass.mass[int64_t{h} * reader.size() + key];
      }
    }
  }
  Count(query.first_position - first_position_, shares, tokens);
}

void ReadWatch::Count(int row, const std::vector<float>& shares, const std::vector<int>& tokens) {
  const int count = num_sentences();
  float* const largest = reads_.data() + int64_t{row} * 2 * count;
  float* const heads = largest + count;
  int begin = 0;
  for (int s = 0; s < count; begin = sentence_ends_[s++]) {
    for (int h = 0; h < shape_.group_size; ++h) {
      RaiseTo(shares[int64_t{h} * count + s], &largest[s]);
    }
    if (2 * tokens[s] < sentence_ends_[s] - begin) continue;
    std::atomic_ref<float>(heads[s]).fetch_add(1.0f, std::memory_order_relaxed);
  }
}

}  // namespace skv::policy
