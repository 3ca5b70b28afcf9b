#pragma once
// How the operands of attention's products lie in scratch: a left one (queries, probabilities)
// times vectors of a right one (keys, values), pair by pair of what is summed over. With an
// instruction for it they lie as bf16 pairs, else as the floats of these pairs: in prefill a group
// is widened once, when it is packed, and not for each row again; in decode the few rows widen keys
// and values as they read them. Either way acc takes first the odd half of a pair, then the even
// one, so the bits are the same. Included by attention_kernel.h only.

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cpu/bf16_pairs.h"
#include "kernels/cpu/f32x16.h"

namespace skv::kernels {
namespace {

#if defined(__AVX512BF16__)

constexpr int kPairWords = 1;

// Left operand: pair `pair` is word LeftWord(pair).
inline int LeftWord(int pair) { return pair; }
// Sixteen pairs of a left operand.
inline void StoreLeft(uint32_t* words, Pairs16 pairs) { StorePairs(words, pairs); }

// Right operand: for each pair a row of `width` words, a word for each entry of a vector.
inline void StoreRight(uint32_t* words, int /*width*/, Pairs16 pairs) { StorePairs(words, pairs); }
struct PackedVectors {
  Pairs16 Pairs(int j) const { return LoadPairs(words + j * kLanes); }
  const uint32_t* words;
  int width;
};
struct PairVectors {
  Pairs16 Pairs(int j) const { return LoadPairs(words + j * kLanes); }
  const uint32_t* words;
};
// The channels of two rows of the cache.
struct RowVectors {
  Pairs16 Pairs(int j) const {
    Pairs16 both[2];
    const int channel = j / 2 * 2 * kLanes;
    InterleaveRows(even + channel, odd + channel, &both[0], &both[1]);
    return both[j % 2];
  }
  const Bf16* even;
  const Bf16* odd;
};
// `vectors` with zeros for the odd halves, which may be anything, NaN included.
template <class Vectors>
struct EvenVectors {
  Pairs16 Pairs(int j) const { return And(vectors.Pairs(j), SetPairs(0x0000ffffu)); }
  Vectors vectors;
};

// acc[i][j] += left pair i . vector j; left pairs are `stride` words apart.
template <int kR, int kV, class Vectors>
inline void AddDots(const uint32_t* left, int stride, const Vectors& vectors, F32x16 (*acc)[kV]) {
  Pairs16 vector[kV];
  for (int j = 0; j < kV; ++j) vector[j] = vectors.Pairs(j);
  for (int i = 0; i < kR; ++i) {
    const Pairs16 x = SetPairs(left[i * stride]);
    for (int j = 0; j < kV; ++j) acc[i][j] = DotPairs(acc[i][j], x, vector[j]);
  }
}

#else

constexpr int kPairWords = 2;

inline const float* Floats(const uint32_t* words) { return reinterpret_cast<const float*>(words); }
inline float* Floats(uint32_t* words) { return reinterpret_cast<float*>(words); }

// Left operand: of sixteen pairs first the even halves, then the odd ones.
inline int LeftWord(int pair) { return pair / kLanes * 2 * kLanes + pair % kLanes; }
inline void StoreLeft(uint32_t* words, Pairs16 pairs) {
  Store(Floats(words), EvenToFloat(pairs));
  Store(Floats(words) + kLanes, OddToFloat(pairs));
}

// Right operand: for each pair `width` even halves, then as many odd ones.
inline void StoreRight(uint32_t* words, int width, Pairs16 pairs) {
  Store(Floats(words), EvenToFloat(pairs));
  Store(Floats(words) + width, OddToFloat(pairs));
}
struct PackedVectors {
  F32x16 Half(int half, int j) const { return Load(Floats(words) + half * width + j * kLanes); }
  const uint32_t* words;
  int width;
};
struct PairVectors {
  F32x16 Half(int half, int j) const {
    const Pairs16 pairs = LoadPairs(words + j * kLanes);
    return half == 1 ? OddToFloat(pairs) : EvenToFloat(pairs);
  }
  const uint32_t* words;
};
struct RowVectors {
  F32x16 Half(int half, int j) const { return LoadBf16((half == 1 ? odd : even) + j * kLanes); }
  const Bf16* even;
  const Bf16* odd;
};
template <class Vectors>
struct EvenVectors {
  F32x16 Half(int half, int j) const { return half == 1 ? Zero() : vectors.Half(0, j); }
  Vectors vectors;
};

// Vectors in registers beside the sums: all where there are 32 registers.
#if defined(__AVX512F__)
template <int kV>
constexpr int kHeldVecs = kV;
#else
template <int kV>
constexpr int kHeldVecs = 1;
#endif

template <int kR, int kV, class Vectors>
inline void AddDots(const uint32_t* left, int stride, const Vectors& vectors, F32x16 (*acc)[kV]) {
  for (const int half : {1, 0}) {
    for (int first = 0; first < kV; first += kHeldVecs<kV>) {
      F32x16 vector[kHeldVecs<kV>];
      for (int j = 0; j < kHeldVecs<kV>; ++j)
        vector[j] = InRegisters(vectors.Half(half, first + j));
      for (int i = 0; i < kR; ++i) {
        const F32x16 x = InOneRegister(Floats(left)[i * stride + half * kLanes]);
        for (int j = 0; j < kHeldVecs<kV>; ++j) {
          acc[i][first + j] = Fma(x, vector[j], acc[i][first + j]);
        }
      }
    }
  }
}

#endif

constexpr int kKeyWords = kPairWords * kAttentionGroup;  // of a pair of channels

// Asks for the line at p: into L2, since L1 is full of tiles.
inline void Prefetch(const Bf16* p) { __builtin_prefetch(p, 0, 2); }

// Where the products over channels find 16 kV keys: in the form of the products, or as bf16 pairs.
struct PackedKeys {
  PackedVectors Pair(int pair) const { return {words + pair * kKeyWords, kAttentionGroup}; }
  const uint32_t* words;
};
struct PairKeys {
  PairVectors Pair(int pair) const { return {words + pair * kAttentionGroup}; }
  const uint32_t* words;
};

// Where the products over values find channels [c, c + 16 kV) of a pair of keys.
struct PackedValues {
  template <int kV>
  PackedVectors Pair(int pair, int c) const {
    return {values + pair * kPairWords * head_dim + c, head_dim};
  }
  const uint32_t* values;
  int head_dim;
};
struct RowValues {
  template <int kV>
  RowVectors Pair(int pair, int c) const {
    const bool asks = next != nullptr && c % (2 * kLanes) == 0;  // once for a line
    for (int j = 0; asks && j < kV; j += 2) {
      Prefetch(next[2 * pair] + c + j * kLanes);
      Prefetch(next[2 * pair + 1] + c + j * kLanes);
    }
    return {rows[2 * pair] + c, rows[2 * pair + 1] + c};
  }
  const Bf16* const* rows;
  const Bf16* const* next;  // rows to ask for meanwhile, or null
};

}  // namespace
}  // namespace skv::kernels
