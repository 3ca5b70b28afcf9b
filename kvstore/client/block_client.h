#pragma once
// One rank's session with a store of sentence blocks: what a worker asks for, writes and gives
// back. Its layout, rank and group belong to the session; the keys are those of common/block_key.h.
//
// Engine thread only, handles included; there is no thread behind it. `deadline` is that of the
// store's answer (steady clock): a store that misses it is lost, so choose it for the health of the
// store, not for what is left of a request.
//
// Errors of all calls, whole or for an item:
//   Unavailable        the session is lost, and so it stays: all later calls say so at once. Blocks
//                      that are held stay readable, and writable, until their handles go
//   DeadlineExceeded   the deadline had passed before the call; nothing was asked
//   InvalidArgument    what was asked is malformed; that item, or the call, had no effect
//   ResourceExhausted  the store has no room, or as many leases as it may give
// Others as stated. Implementations: session_, in_process_ and reconnecting_block_client.h.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "common/clock.h"
#include "kvstore/client/block_handles.h"

namespace skv::kvstore {

struct Creation {
  enum class Outcome {
    kCreated,
    kInProgress,  // another writer has it: Wait for it
    kExists,      // a Get may find it
  };
  Outcome outcome = Outcome::kInProgress;
  WritableBlock block;  // kCreated
};

struct SealedBlock {
  enum class Visibility {
    kVisible,  // to every Get
    kPending,  // once all ranks of the group have sealed theirs
    kPrivate,  // never: another rank's writer, or the session, is gone
  };
  LeasedChain block;  // the one, readable in any case
  Visibility visibility = Visibility::kPrivate;
};

struct Notices {
  std::vector<PrefixKey> sealed;     // a Get may find them
  std::vector<PrefixKey> abandoned;  // nobody writes them now
};

// A snapshot.
struct BlockClientGauges {
  bool is_shared = false;  // other processes use the same blocks
  // Of the store that they use: drawn anew each time that it starts; zeros where it is not shared.
  std::array<uint8_t, 16> store_epoch = {};
  uint64_t num_leases = 0;       // that handles hold
  uint64_t num_unsent_ends = 0;  // leases ended here that the store has not been told of
  uint64_t mapped_bytes = 0;     // of address space
  uint64_t own_bytes = 0;        // of blocks that lie in memory of this process
  // Since the start:
  uint64_t num_requests = 0;  // to the store, but for releases
  uint64_t num_failures = 0;  // requests, and items of them, that were answered by an error
  uint64_t num_corrupt_blocks = 0;
  uint64_t num_verified_bytes = 0;  // of payloads whose checksums were computed to compare them
};

class BlockClient {
 public:
  virtual ~BlockClient() = default;

  // Leases the longest visible prefix of a chain of keys, which may be none. The first key may lie
  // anywhere in its chain; more than kMaxChainKeys take several calls.
  //
  // Payloads are compared with their checksums unless the block is held already by a lease of this
  // client: one pass over the payload in this thread, at 5 to 6 GB/s (block_client_benchmark.cc); a
  // prompt of 8,000 tokens of 23 KB takes 30 ms. The hit ends before the first block that is not
  // whole, or not the one asked for, which is logged, counted, and told to the store: it is dropped
  // there, soon, and may be created anew then.
  virtual absl::StatusOr<LeasedChain> Get(std::span<const PrefixKey> keys, TimePoint deadline) = 0;
  static constexpr size_t kMaxChainKeys = 4000;

  // One result for each sentence, in order; a parent may come before its child.
  // NotFound: the parent is not there.
  virtual std::vector<absl::StatusOr<Creation>> Create(std::vector<NewSentence> sentences,
                                                       TimePoint deadline) = 0;

  // Writes the headers of blocks whose payloads are written, checksums included, and makes them
  // visible. One result for each block, in order. A block of a session that is lost, or of another
  // client, or for which the deadline had passed, becomes private: never Unavailable or
  // DeadlineExceeded. With an error a block is given up.
  // `is_tip`: the last is the last of its chain for now.
  // InvalidArgument: a key is not that of its parent and tokens; or the store does not find the
  // header that was written.
  virtual std::vector<absl::StatusOr<SealedBlock>> Seal(std::vector<WritableBlock> blocks,
                                                        bool is_tip, TimePoint deadline) = 0;

  // Each key comes in one Notices: now, when it is sealed, or when nobody writes it any more; that
  // of a lost session as abandoned.
  virtual absl::Status Wait(std::span<const PrefixKey> keys, TimePoint deadline) = 0;
  // What has come since the last call; never waits.
  virtual Notices TakeNotices() = 0;

  // Ends of leases go along with the next request; this sends them now.
  virtual absl::Status Flush(TimePoint deadline) = 0;

  // To be called between requests, now and then: what nobody asks for is done here. Within the time
  // that it takes to connect.
  virtual void Poll(TimePoint /*now*/) {}

  // OK, or why the session is lost. Learns of it by the other calls only, TakeNotices included.
  virtual absl::Status status() const = 0;
  virtual BlockClientGauges gauges() const = 0;
};

// What implementations share. InvalidArgument: sizes out of range.
absl::Status CheckSentence(const NewSentence& sentence);
// InvalidArgument: more than kMaxChainKeys.
absl::Status CheckNumKeys(size_t num_keys);
// A sealed block that nobody else will find.
SealedBlock PrivateBlock(WritableBlock block);

}  // namespace skv::kvstore
