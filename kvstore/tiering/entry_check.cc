#include "kvstore/tiering/entry_check.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::kvstore {

absl::StatusOr<ParsedBlock> CheckBlock(const TierKey& key, uint32_t world_size,
                                       std::span<const std::byte> bytes, std::string_view place) {
  SKV_ASSIGN_OR_RETURN(const ParsedBlock block, ParseBlock(bytes, place));
  const BlockId expected = {key.entry.prefix, key.entry.layout, static_cast<int>(key.rank)};
  const int group_size = static_cast<int>(world_size);
  if (block.header.id == expected && block.header.group_size == group_size) return block;
  const auto name_of = [](const BlockId& id, int size) {
    return absl::StrCat(ToHex(id.prefix), " in layout ", ToHex(id.layout), " of rank ", id.rank,
                        " of ", size);
  };
  return absl::DataLossError(absl::StrCat(Sv(place), ": block: is ",
                                          name_of(block.header.id, block.header.group_size),
                                          ", expected ", name_of(expected, group_size)));
}

absl::Status CheckEntry(const HeldEntry& entry) {
  const auto world_size = static_cast<uint32_t>(entry.blocks.size());
  for (uint32_t rank = 0; rank < world_size; ++rank) {
    SKV_RETURN_IF_ERROR(
        CheckBlock({entry.key, rank}, world_size, entry.blocks[rank], "arena").status());
  }
  return absl::OkStatus();
}

}  // namespace skv::kvstore
