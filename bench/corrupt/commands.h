#pragma once
// What the row C.corrupt asks for, as JSON: `cmd` and its fields. Blocks are named by `first` and
// `count`, places by `place` (arena, nvme, redis) and `at` (the folder, the address; nothing for
// the arena, which is that of the last `write`). Not thread-safe.
//
//   write       socket, first, count   -> bytes
//   flip        place, at, first, count -> in_header: one bit of each block, some of headers
//   compare     place, at, first, count -> right, wrong, unreadable: without any check
//   flip_blobs  at, count              -> files, bytes: bits of RocksDB's files
//   read        socket, first, count, waits -> right, wrong, missed, corrupt: as a worker does

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "bench/corrupt/arena_blocks.h"
#include "bench/corrupt/block_series.h"
#include "bench/corrupt/raw_blocks.h"

namespace skv::corrupt {

class Commands {
 public:
  explicit Commands(uint64_t seed) : seed_(seed), series_(seed) {}

  // Of one line. InvalidArgument: not such a request. Others: it could not be done.
  absl::StatusOr<nlohmann::json> Answer(const std::string& line);

 private:
  // The place that a request names; owned by `opened` unless it is the arena.
  absl::StatusOr<RawBlocks*> PlaceOf(const nlohmann::json& request,
                                     std::unique_ptr<RawBlocks>* opened);
  absl::StatusOr<nlohmann::json> Write(const nlohmann::json& request);
  absl::StatusOr<nlohmann::json> Flip(const nlohmann::json& request);
  absl::StatusOr<nlohmann::json> Compare(const nlohmann::json& request);
  absl::StatusOr<nlohmann::json> FlipBlobs(const nlohmann::json& request) const;
  absl::StatusOr<nlohmann::json> Read(const nlohmann::json& request) const;

  const uint64_t seed_;
  const BlockSeries series_;
  std::unique_ptr<ArenaBlocks> arena_;
};

// Answers each line until the end of `in` by one line: what Answer says and "ok": true, or "ok":
// false and "error".
void ServeCommands(uint64_t seed, std::istream& in, std::ostream& out);

}  // namespace skv::corrupt
