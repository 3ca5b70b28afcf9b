#include "kvstore/peer/peer_tier.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/peer/peer_connection.h"
#include "kvstore/tier/tier_tally.h"

namespace skv::kvstore {
namespace {

class PeerTier : public Tier {
 public:
  explicit PeerTier(const std::string& address)
      : name_(absl::StrCat("peer:", address)), connection_(address) {}

  std::string_view name() const override { return name_; }
  absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> Get(std::span<const TierKey> keys,
                                                             TimePoint deadline) override;
  absl::Status Put(std::span<const TierBlock>, TimePoint) override { return absl::OkStatus(); }
  absl::Status Erase(std::span<const TierKey>, TimePoint) override { return absl::OkStatus(); }
  TierGauges gauges() const override { return tally_.gauges(); }

 private:
  using Values = std::vector<absl::StatusOr<TierValue>>;
  absl::Status ReadRank(std::span<const TierKey> keys, const std::vector<size_t>& of_rank,
                        TimePoint deadline, Values* values);
  absl::StatusOr<Values> Read(std::span<const TierKey> keys, TimePoint deadline);

  const std::string name_;
  PeerConnection connection_;
  TierTally tally_{/*is_on=*/true};
};

absl::StatusOr<std::vector<absl::StatusOr<TierValue>>> PeerTier::Get(std::span<const TierKey> keys,
                                                                     TimePoint deadline) {
  auto values = Read(keys, deadline);
  tally_.CountCall(values.status(), /*is_on=*/!absl::IsUnavailable(values.status()));
  if (values.ok()) tally_.CountRead(*values);
  return values;
}

// One call of the peer for each rank: whose blocks of a chain it sends together.
absl::StatusOr<PeerTier::Values> PeerTier::Read(std::span<const TierKey> keys, TimePoint deadline) {
  if (keys.size() > kMaxBatch) {
    return absl::InvalidArgumentError(
        absl::StrCat("peer tier: ", keys.size(), " blocks in one call, at most ", kMaxBatch));
  }
  std::map<uint32_t, std::vector<size_t>> by_rank;
  for (size_t i = 0; i < keys.size(); ++i) by_rank[keys[i].rank].push_back(i);
  Values values(keys.size(), absl::NotFoundError("peer tier: it is not there"));
  for (const auto& [rank, of_rank] : by_rank) {
    SKV_RETURN_IF_ERROR(ReadRank(keys, of_rank, deadline, &values));
  }
  return values;
}

absl::Status PeerTier::ReadRank(std::span<const TierKey> keys, const std::vector<size_t>& of_rank,
                                TimePoint deadline, Values* values) {
  std::vector<EntryKey> entries;
  entries.reserve(of_rank.size());
  for (const size_t i : of_rank) entries.push_back(keys[i].entry);
  SKV_ASSIGN_OR_RETURN(const ReadBlocks read,
                       connection_.Read(entries, keys[of_rank[0]].rank, deadline));
  for (size_t i = 0; i < read.blocks.size(); ++i) {
    (*values)[of_rank[i]] = TierValue{.bytes = read.blocks[i], .owner = read.owner};
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tier>> OpenPeerTier(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("peer: '", address, "', expected HOST:PORT with a port of 1 to 65535"));
  }
  return std::make_unique<PeerTier>(address);
}

}  // namespace skv::kvstore
