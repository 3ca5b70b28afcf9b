#pragma once
// Random operations on a block store by clients that die, forge and write nonsense. The model knows
// what each lease holds and compares it with the arena byte for byte, so that any overlap, move or
// early reuse shows.

#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "kvstore/store/block_store.h"
#include "kvstore/store/testing/store_chains.h"

namespace skv::kvstore {

class StoreSimulation {
 public:
  struct Counts {
    int64_t num_sealed = 0, num_bad_headers = 0, num_aborted = 0, num_no_hole = 0, num_hits = 0;
    int64_t num_told = 0;  // of keys that somebody waited for
    int64_t num_widening = 0;
    void Add(const Counts& other);
  };

  StoreSimulation(std::unique_ptr<EvictionOrder> order, int seed);

  static BlockStoreOptions Options();

  // Checks all invariants after each step; in the end, that an emptied store is empty.
  void Run(int num_steps);
  const Counts& counts() const { return counts_; }

 private:
  static constexpr int kNumSentences = 40;
  static constexpr uint64_t kArenaBytes = 8192;

  struct Held {
    int sentence = 0;
    uint32_t rank = 0;
    uint64_t offset = 0, num_bytes = 0;
  };
  struct ModelLease {
    SessionId session;
    LeaseId handle;
    std::vector<Held> blocks;
    bool writes = false;
    bool abandoned = false;  // its entry is gone while it wrote
  };

  int Uniform(int min, int max) { return std::uniform_int_distribution(min, max)(random_); }
  bool Chance(int percent) { return Uniform(1, 100) <= percent; }
  SessionId AnySession() { return sessions_[random_() % sessions_.size()]; }
  NewBlock BlockOf(int sentence, uint32_t rank) const;
  int NumberOf(const EntryKey& key) const;

  void Step();
  void OpenOrClose();
  void Close(size_t i);
  void Create();
  void Created(SessionId session, int sentence, uint32_t rank, const CreatedBlock& created);
  void SealOrRelease();
  void Seal(size_t i);
  void Get();
  void Forge();
  void PinOrInvalidate();
  BlockHeader WrongHeader(const Held& held);
  std::span<std::byte> PlaceOf(const Held& held) {
    return std::span(arena_).subspan(held.offset, held.num_bytes);
  }

  void TakeNews();
  void Check();
  void CheckHeld();
  void CheckGauges();
  void CheckEmptyInTheEnd();

  std::mt19937 random_;
  std::vector<std::byte> arena_ = std::vector<std::byte>(kArenaBytes);
  BlockStore store_;
  std::vector<TestSentence> sentences_;
  std::vector<int> parent_of_;  // -1: none
  std::vector<SessionId> sessions_;
  std::vector<ModelLease> leases_;
  std::vector<LeaseId> ended_;
  std::set<int> awaited_;  // sentences that somebody was told to wait for
  std::set<int> visible_;  // as Watch says
  TimePoint now_;
  Counts counts_;
};

}  // namespace skv::kvstore
