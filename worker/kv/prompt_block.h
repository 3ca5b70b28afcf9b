#pragma once
// Memory for the keys and values of one sentence of a prompt, shared by the sequences that read it.
// Created (its writer fills it) -> sealed (immutable). Engine thread only, but for the bytes.

#include <cstddef>

namespace skv::kv {

class PromptBlock {
 public:
  virtual ~PromptBlock() = default;
  PromptBlock(const PromptBlock&) = delete;
  PromptBlock& operator=(const PromptBlock&) = delete;

  // Room for capacity() tokens, which neither moves nor goes while this lives; KvLayout says where
  // in it the rows lie.
  std::byte* data() const { return data_; }
  int capacity() const { return capacity_; }

  // It is completely written, and nobody writes it from now on. Called at most once, by its writer.
  virtual void Seal() = 0;

 protected:
  PromptBlock(std::byte* data, int capacity) : data_(data), capacity_(capacity) {}

 private:
  std::byte* const data_;
  const int capacity_;
};

}  // namespace skv::kv
