#pragma once
// A client that writes blocks as a worker does, gives them back, and goes on to see and change
// them in its own mapping of the arena. Not thread-safe.

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/corrupt/block_series.h"
#include "bench/corrupt/raw_blocks.h"
#include "kvstore/client/block_client.h"

namespace skv::corrupt {

class ArenaBlocks : public RawBlocks {
 public:
  // Over a session of its own with the store at `socket`. The errors of ConnectSessionBlockClient.
  static absl::StatusOr<std::unique_ptr<ArenaBlocks>> Open(const std::string& socket);

  // Visible, and leased by nobody afterwards. Internal: the store has it, or does not take it.
  absl::Status Write(const BlockSeries& series, Numbers numbers);

  absl::StatusOr<std::string> Read(const PrefixKey& key) override;
  absl::Status FlipBit(const PrefixKey& key, uint64_t bit) override;

 private:
  explicit ArenaBlocks(std::unique_ptr<kvstore::BlockClient> client) : client_(std::move(client)) {}
  absl::Status WriteOne(const NumberedBlock& block);

  const std::unique_ptr<kvstore::BlockClient> client_;  // keeps the arena mapped
  std::map<PrefixKey, std::span<std::byte>> written_;
};

}  // namespace skv::corrupt
