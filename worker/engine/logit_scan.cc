#include "worker/engine/logit_scan.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace skv::engine {
namespace {

// Four lanes are what every x86-64 has; the passes are a small part of a step.
using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Floats Broadcast(float x) { return Floats{x, x, x, x}; }

Floats Load(const float* from) {
  Floats result;
  std::memcpy(&result, from, sizeof(result));
  return result;
}

// The last, shorter vector of a pass; missing lanes are -infinity, which every pass ignores.
Floats LoadUpTo(const float* from, size_t num_lanes) {
  Floats result = Broadcast(-kInfinity);
  std::memcpy(&result, from, std::min<size_t>(num_lanes, kLanes) * sizeof(float));
  return result;
}

// Calls visit(vector) for all of `values`, in order.
template <typename Visit>
void ForEachVector(absl::Span<const float> values, Visit visit) {
  const size_t whole = values.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) visit(Load(values.data() + i));
  if (whole < values.size()) visit(LoadUpTo(values.data() + whole, values.size() - whole));
}

Floats Max(Floats a, Floats b) { return a > b ? a : b; }
Floats Min(Floats a, Floats b) { return a > b ? b : a; }

// x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by its Taylor polynomial of degree 6, whose remainder
// is under 2^-22.9 relative; 2^n goes into the exponent bits.
Floats ExpOfNegatives(Floats x) {
  constexpr float kSmallest = -87.33654f;  // ln 2^-126
  constexpr float kRound = 12582912.0f;    // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const Floats clamped = Max(x, Broadcast(kSmallest));
  const Floats n = (clamped * 1.44269504f + kRound) - kRound;
  const Floats r = (clamped - n * kLn2High) - n * kLn2Low;
  Floats p = r * (1.0f / 720) + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &exponent, sizeof(scale));
  return x < kSmallest ? Broadcast(0.0f) : p * scale;
}

TokenId FirstIndexOf(absl::Span<const float> values, float wanted) {
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    const Ints hits = Load(values.data() + i) == Broadcast(wanted);
    if ((hits[0] | hits[1] | hits[2] | hits[3]) != 0) break;
  }
  while (values[i] != wanted) ++i;
  return static_cast<TokenId>(i);
}

}  // namespace

LogitSummary Summarize(absl::Span<const float> logits) {
  Floats first = Broadcast(-kInfinity);
  Floats second = Broadcast(-kInfinity);
  Ints in_range = {-1, -1, -1, -1};
  ForEachVector(logits, [&](Floats x) {
    in_range &= x <= Broadcast(std::numeric_limits<float>::max());  // NaN compares false
    second = Max(second, Min(first, x));
    first = Max(first, x);
  });
  LogitSummary summary{.largest = -kInfinity, .second = -kInfinity, .valid = true};
  for (int lane = 0; lane < kLanes; ++lane) {
    summary.second = std::max(
        {summary.second, second[lane], std::min(summary.largest, static_cast<float>(first[lane]))});
    summary.largest = std::max(summary.largest, static_cast<float>(first[lane]));
    summary.valid = summary.valid && in_range[lane] != 0;
  }
  summary.valid = summary.valid && summary.largest > -kInfinity;
  if (summary.valid) summary.argmax = FirstIndexOf(logits, summary.largest);
  return summary;
}

float ExpOfNegative(float x) { return ExpOfNegatives(Broadcast(x))[0]; }

double SumExp(absl::Span<const float> logits, float largest, float temperature,
              std::vector<double>* block_sums) {
  block_sums->clear();
  double total = 0.0;
  for (size_t begin = 0; begin < logits.size(); begin += kSumBlock) {
    Floats lanes = Broadcast(0.0f);
    ForEachVector(logits.subspan(begin, kSumBlock),
                  [&](Floats x) { lanes += ExpOfNegatives((x - largest) / temperature); });
    const double sum =
        (double{lanes[0]} + double{lanes[1]}) + (double{lanes[2]} + double{lanes[3]});
    block_sums->push_back(sum);
    total += sum;
  }
  return total;
}

void BlockMaxima(absl::Span<const float> logits, std::vector<float>* maxima) {
  maxima->clear();
  for (size_t begin = 0; begin < logits.size(); begin += kMaxBlock) {
    Floats lanes = Broadcast(-kInfinity);
    ForEachVector(logits.subspan(begin, kMaxBlock), [&](Floats x) { lanes = Max(lanes, x); });
    maxima->push_back(
        std::max({float{lanes[0]}, float{lanes[1]}, float{lanes[2]}, float{lanes[3]}}));
  }
}

}  // namespace skv::engine
