#include "tools/cli/kvstore_view.h"

#include <cmath>
#include <cstdint>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skv::cli {
namespace {

namespace pb = kvstore::v1;

constexpr size_t kPartBytes = 16;

std::string Mib(uint64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string StateName(pb::Entry::State state) {
  return absl::AsciiStrToLower(pb::Entry::State_Name(state));
}

// The bytes of 32 hexadecimal digits; empty when it is none.
std::string ParsePart(std::string_view digits) {
  if (digits.size() != 2 * kPartBytes) return {};
  for (const char c : digits) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return {};
  }
  return absl::HexStringToBytes({digits.data(), digits.size()});
}

nlohmann::ordered_json ToJson(const pb::TierStats& tier) {
  return {{"name", tier.name()},
          {"is_on", tier.is_on()},
          {"num_blocks", tier.num_blocks()},
          {"bytes", tier.bytes()},
          {"capacity_bytes", tier.capacity_bytes()},
          {"num_hits", tier.num_hits()},
          {"num_misses", tier.num_misses()},
          {"num_promoted_entries", tier.num_promoted_entries()},
          {"num_written_entries", tier.num_written_entries()},
          {"num_queued_entries", tier.num_queued_entries()},
          {"max_queued_entries", tier.max_queued_entries()},
          {"num_dropped_entries", tier.num_dropped_entries()},
          {"num_corrupt_blocks", tier.num_corrupt_blocks()},
          {"num_failures", tier.num_failures()}};
}

// Empty where there are none.
std::string RenderTiers(const pb::Stats& stats) {
  if (stats.tiers().empty()) return {};
  std::string text =
      absl::StrFormat("\n%-8s %-4s %10s %22s %10s %10s %10s %16s %8s\n", "TIER", "ON", "BLOCKS",
                      "BYTES", "HITS", "MISSES", "WRITTEN", "QUEUED", "FAILED");
  for (const pb::TierStats& tier : stats.tiers()) {
    const std::string bytes =
        tier.capacity_bytes() == 0
            ? Mib(tier.bytes())
            : absl::StrFormat("%s of %s", Mib(tier.bytes()), Mib(tier.capacity_bytes()));
    absl::StrAppendFormat(
        &text, "%-8s %-4s %10u %22s %10u %10u %10u %16s %8u\n", tier.name(),
        tier.is_on() ? "yes" : "no", tier.num_blocks(), bytes, tier.num_hits(), tier.num_misses(),
        tier.num_written_entries(),
        absl::StrFormat("%u of %u", tier.num_queued_entries(), tier.max_queued_entries()),
        tier.num_failures());
  }
  return text;
}

std::string TenantName(const std::string& name) { return name.empty() ? "-" : name; }

}  // namespace

std::string KeyText(const pb::Key& key) {
  return absl::StrCat(absl::BytesToHexString(key.prefix()), "/",
                      absl::BytesToHexString(key.layout()));
}

absl::StatusOr<pb::Key> ParseKey(const std::string& text) {
  const size_t slash = text.find('/');
  pb::Key key;
  if (slash != std::string::npos) {
    key.set_prefix(ParsePart(std::string_view(text).substr(0, slash)));
    key.set_layout(ParsePart(std::string_view(text).substr(slash + 1)));
  }
  if (!key.prefix().empty() && !key.layout().empty()) return key;
  return absl::InvalidArgumentError(
      absl::StrCat("KEY: got '", text,
                   "', expected PREFIX/LAYOUT, 32 hexadecimal digits each, as "
                   "`skv kvstore ls` prints it"));
}

std::string RenderStats(const pb::Stats& stats) {
  const double share = stats.arena_bytes() == 0 ? 0
                                                : 100.0 * static_cast<double>(stats.live_bytes()) /
                                                      static_cast<double>(stats.arena_bytes());
  std::string text =
      absl::StrFormat("arena      %s of %s (%.0f %%), %s leased\n", Mib(stats.live_bytes()),
                      Mib(stats.arena_bytes()), share, Mib(stats.leased_bytes()));
  absl::StrAppendFormat(&text, "entries    %u of %u, %u sealed\n", stats.num_entries(),
                        stats.max_entries(), stats.num_sealed_entries());
  absl::StrAppendFormat(&text, "blocks     %u of %u\n", stats.num_blocks(), stats.max_blocks());
  absl::StrAppendFormat(&text, "sessions   %u with %u leases\n", stats.num_sessions(),
                        stats.num_leases());
  absl::StrAppendFormat(&text, "pins       %u of %u\n", stats.num_pins(), stats.max_pins());
  absl::StrAppendFormat(&text, "evictions  %u\n", stats.num_evicted());
  absl::StrAppendFormat(&text, "watch      %u of %u calls, %u of %u events kept\n",
                        stats.num_watch_streams(), stats.max_watch_streams(),
                        stats.num_watch_events(), stats.max_watch_events());
  absl::StrAppendFormat(&text, "scrubbed   %s, %u damaged entries dropped\n\n",
                        Mib(stats.num_scrubbed_bytes()), stats.num_damaged_entries());
  absl::StrAppendFormat(&text, "%-24s %14s %14s\n", "TENANT", "BYTES", "QUOTA");
  for (const pb::TenantStats& tenant : stats.tenants()) {
    absl::StrAppendFormat(&text, "%-24s %14d %14d\n", TenantName(tenant.name()), tenant.bytes(),
                          tenant.quota_bytes());
  }
  text += RenderTiers(stats);
  return text;
}

nlohmann::ordered_json ToJson(const pb::Stats& stats) {
  nlohmann::ordered_json json = {{"epoch", absl::BytesToHexString(stats.epoch())},
                                 {"arena_bytes", stats.arena_bytes()},
                                 {"live_bytes", stats.live_bytes()},
                                 {"leased_bytes", stats.leased_bytes()},
                                 {"num_entries", stats.num_entries()},
                                 {"max_entries", stats.max_entries()},
                                 {"num_sealed_entries", stats.num_sealed_entries()},
                                 {"num_blocks", stats.num_blocks()},
                                 {"max_blocks", stats.max_blocks()},
                                 {"num_sessions", stats.num_sessions()},
                                 {"num_leases", stats.num_leases()},
                                 {"num_pins", stats.num_pins()},
                                 {"max_pins", stats.max_pins()},
                                 {"num_evicted", stats.num_evicted()},
                                 {"num_watch_streams", stats.num_watch_streams()},
                                 {"max_watch_streams", stats.max_watch_streams()},
                                 {"num_watch_events", stats.num_watch_events()},
                                 {"max_watch_events", stats.max_watch_events()},
                                 {"watch_stride", stats.watch_stride()},
                                 {"num_scrubbed_bytes", stats.num_scrubbed_bytes()},
                                 {"num_damaged_entries", stats.num_damaged_entries()}};
  json["tenants"] = nlohmann::ordered_json::array();
  for (const pb::TenantStats& tenant : stats.tenants()) {
    json["tenants"].push_back({{"name", tenant.name()},
                               {"bytes", tenant.bytes()},
                               {"quota_bytes", tenant.quota_bytes()}});
  }
  json["tiers"] = nlohmann::ordered_json::array();
  for (const pb::TierStats& tier : stats.tiers()) json["tiers"].push_back(ToJson(tier));
  return json;
}

std::string RenderVerified(const pb::VerifyResponse& verified) {
  std::string text = absl::StrFormat("%u entries, %s compared, %u damaged", verified.num_entries(),
                                     Mib(verified.bytes()), verified.num_damaged_entries());
  if (verified.num_skipped_entries() > 0) {
    absl::StrAppend(&text, ", ", verified.num_skipped_entries(), " skipped");
  }
  return text;
}

absl::Status StatusOf(const pb::VerifyResponse& verified) {
  if (verified.num_damaged_entries() > 0) {
    return absl::DataLossError(absl::StrCat(
        "verify: ", verified.num_damaged_entries(),
        " damaged entries were dropped, and are computed again when they are asked for; if it "
        "happens again, test this host's memory"));
  }
  if (verified.num_skipped_entries() == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "verify: ", verified.num_skipped_entries(),
      " entries were not compared, as the store had no lease left for them; try again when its "
      "clients hold fewer"));
}

nlohmann::ordered_json ToJson(const pb::VerifyResponse& verified) {
  nlohmann::ordered_json json = {{"num_entries", verified.num_entries()},
                                 {"bytes", verified.bytes()},
                                 {"num_damaged_entries", verified.num_damaged_entries()},
                                 {"num_skipped_entries", verified.num_skipped_entries()}};
  json["damaged"] = nlohmann::ordered_json::array();
  for (const pb::Key& key : verified.damaged()) json["damaged"].push_back(KeyText(key));
  return json;
}

std::string RenderEntries(const std::vector<pb::Entry>& entries) {
  std::string text =
      absl::StrFormat("%-65s %5s %-7s %10s %5s %6s %8s %7s  %s\n", "KEY", "DEPTH", "STATE", "BYTES",
                      "RANKS", "LEASES", "CHILDREN", "PIN s", "TENANT");
  for (const pb::Entry& entry : entries) {
    const std::string pin =
        entry.pinned_seconds() > 0
            ? absl::StrCat(static_cast<int64_t>(std::ceil(entry.pinned_seconds())))
            : "-";
    absl::StrAppendFormat(&text, "%-65s %5u %-7s %10d %5u %6u %8u %7s  %s\n", KeyText(entry.key()),
                          entry.depth(), StateName(entry.state()), entry.bytes(),
                          entry.world_size(), entry.num_leases(), entry.num_children(), pin,
                          TenantName(entry.tenant()));
  }
  return text;
}

nlohmann::ordered_json ToJson(const pb::Entry& entry) {
  return {{"key", KeyText(entry.key())},
          {"parent_prefix", absl::BytesToHexString(entry.parent_prefix())},
          {"depth", entry.depth()},
          {"state", StateName(entry.state())},
          {"tenant", entry.tenant()},
          {"world_size", entry.world_size()},
          {"bytes", entry.bytes()},
          {"num_leases", entry.num_leases()},
          {"num_children", entry.num_children()},
          {"pinned_seconds", entry.pinned_seconds()},
          {"is_announced", entry.is_announced()}};
}

}  // namespace skv::cli
