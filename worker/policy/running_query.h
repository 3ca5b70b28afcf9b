#pragma once
// What the sentence being written asks for, for one KV head's group: half the mean of its rotated
// queries so far, half the newest of them. SentenceKV (arXiv 2504.00970) takes the mean alone, and
// attends everything at a boundary, where that mean has little to go by; here the first tokens of a
// sentence carry the previous one's mean on, which stands for the tokens that a mean of kMinTokens
// still lacks. Either can be left out.

#include <cstddef>
#include <vector>

namespace skv::policy {

class RunningQuery {
 public:
  static constexpr int kMinTokens = 4;

  struct Rule {
    bool carry = true;         // else the mean is that of the sentence's own queries, be it one
    bool blend_newest = true;  // else the mean alone
  };

  // `width` floats a query: group_size * head_dim.
  RunningQuery(int width, const Rule& rule);

  // The query of the next position, of a sentence that begins at `sentence_begin`: another begin
  // than before is a boundary. A position counts to the sentence that the tokens up to it tell.
  void Add(int sentence_begin, const float* query);

  // query [width] after at least one Add.
  void Get(float* query) const;

  // Whether the newest query is its sentence's first.
  bool begins_sentence() const { return count_ == 1; }

  size_t size_bytes() const {
    return (sum_.capacity() + previous_.capacity() + newest_.capacity()) * sizeof(float);
  }

 private:
  void Mean(float* mean) const;

  Rule rule_;
  std::vector<float> sum_;
  std::vector<float> previous_;  // the mean at the boundary; empty before the first
  std::vector<float> newest_;
  int count_ = 0;
  int sentence_begin_ = -1;
};

}  // namespace skv::policy
