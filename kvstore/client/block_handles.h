#pragma once
// What a worker holds of a store: blocks that it reads and blocks that it writes. Each handle has
// one lease, gives it back when it goes, and keeps the memory of its blocks mapped until then,
// whatever has become of the client and of the store. Engine thread only, destruction included.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/block_key.h"
#include "common/types.h"

namespace skv::kvstore {

// Whom leases are given back to. Owns the mapping that their blocks lie in.
class LeaseOwner : public std::enable_shared_from_this<LeaseOwner> {
 public:
  virtual ~LeaseOwner() = default;
  // The holder of `lease` does not touch its blocks any more.
  virtual void EndLease(uint64_t lease) = 0;
};

// One lease, or none; ends it when it goes.
class HeldLease {
 public:
  HeldLease() = default;
  // `lease` is the owner's name for it.
  HeldLease(std::shared_ptr<LeaseOwner> owner, uint64_t lease);
  HeldLease(HeldLease&& other) noexcept = default;
  HeldLease& operator=(HeldLease&& other) noexcept;
  ~HeldLease();

  const LeaseOwner* owner() const { return owner_.get(); }  // nullptr: none is held
  uint64_t id() const { return id_; }

 private:
  void End();

  std::shared_ptr<LeaseOwner> owner_;
  uint64_t id_ = 0;
};

// A block of this rank, as it lies in this process's memory.
struct LeasedBlock {
  std::span<const std::byte> payload;  // begins at a multiple of kBlockAlignment
  int num_tokens = 0;
};

// Sealed blocks of consecutive sentences, under one lease; they neither move nor change while this
// is held. Empty by default, and once moved from.
class LeasedChain {
 public:
  LeasedChain() = default;
  LeasedChain(HeldLease lease, std::vector<LeasedBlock> blocks);
  LeasedChain(LeasedChain&& other) noexcept = default;
  LeasedChain& operator=(LeasedChain&& other) noexcept = default;

  // In the order of the chain.
  std::span<const LeasedBlock> blocks() const { return blocks_; }
  size_t size() const { return blocks_.size(); }
  bool empty() const { return blocks_.empty(); }

 private:
  HeldLease lease_;
  std::vector<LeasedBlock> blocks_;
};

// A sentence whose block is to be written.
struct NewSentence {
  PrefixKey key;                // ChildKey(parent, tokens); Seal checks it
  PrefixKey parent;             // of the sentence before, or the root
  bool is_first = false;        // the parent is a root
  std::vector<TokenId> tokens;  // 1 to kMaxBlockTokens
  uint64_t payload_bytes = 0;   // 1 to kMaxPayloadBytes
};

// A block that only its holder sees, until BlockClient::Seal takes it. Gives the block up when it
// goes. Holds nothing by default, and once moved from.
class WritableBlock {
 public:
  WritableBlock() = default;
  // `place` is of header and payload, HeaderBytes(number of tokens) and payload_bytes in all.
  WritableBlock(HeldLease lease, NewSentence sentence, std::span<std::byte> place);

  const NewSentence& sentence() const { return sentence_; }
  // To be filled; what lies there is undefined. Begins at a multiple of kBlockAlignment.
  std::span<std::byte> payload() const { return payload_; }
  int num_tokens() const { return static_cast<int>(sentence_.tokens.size()); }

  // For clients.
  std::span<std::byte> header() const { return header_; }
  const HeldLease& lease() const { return lease_; }
  HeldLease TakeLease() { return std::move(lease_); }

 private:
  HeldLease lease_;
  NewSentence sentence_;
  std::span<std::byte> header_;
  std::span<std::byte> payload_;
};

}  // namespace skv::kvstore
