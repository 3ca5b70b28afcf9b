// `skv kvstore`: what a host's block store holds, and what it shall keep or let go.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common/status.h"
#include "tools/cli/command.h"
#include "tools/cli/kvstore_commands.h"
#include "tools/cli/kvstore_stub.h"
#include "tools/cli/kvstore_view.h"

namespace skv::cli {
namespace {

namespace pb = kvstore::v1;

constexpr auto kPurgeTimeout = std::chrono::minutes(10);
constexpr int kMaxPinSeconds = 86400;
constexpr char kCommonTenant[] = "-";  // all that have no quota

// Of all here; each uses some.
struct Options {
  std::string endpoint;
  std::string key;
  std::string tenant;
  int seconds = 3600;
  int limit = 100;
  bool json = false;
};

absl::Status Stats(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::Stats stats;
  SKV_RETURN_IF_ERROR(CallStore(store, &pb::KvStore::Stub::GetStats, kStoreCallTimeout,
                                pb::GetStatsRequest(), &stats));
  if (options.json) {
    std::cout << ToJson(stats).dump() << std::endl;
  } else {
    std::cout << RenderStats(stats) << std::flush;
  }
  return absl::OkStatus();
}

void Print(const std::vector<pb::Entry>& entries, bool json) {
  if (!json) {
    std::cout << RenderEntries(entries) << std::flush;
    return;
  }
  for (const pb::Entry& entry : entries) std::cout << ToJson(entry).dump() << "\n";
  std::cout << std::flush;
}

absl::Status List(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  std::vector<pb::Entry> entries;
  pb::ListEntriesRequest request;
  // One more than is shown tells that there are more.
  const size_t max_entries = options.limit > 0 ? static_cast<size_t>(options.limit) + 1 : SIZE_MAX;
  do {
    pb::ListEntriesResponse page;
    SKV_RETURN_IF_ERROR(
        CallStore(store, &pb::KvStore::Stub::ListEntries, kStoreCallTimeout, request, &page));
    entries.insert(entries.end(), page.entries().begin(), page.entries().end());
    request.set_page_token(page.next_page_token());
  } while (request.page_token() != 0 && entries.size() < max_entries);
  const bool is_cut = entries.size() >= max_entries;
  if (is_cut) entries.resize(max_entries - 1);
  Print(entries, options.json);
  if (is_cut && !options.json) std::cout << "... (--limit)" << std::endl;
  return absl::OkStatus();
}

absl::Status Pin(const Options& options) {
  pb::PinRequest request;
  SKV_ASSIGN_OR_RETURN(*request.mutable_key(), ParseKey(options.key));
  request.set_seconds(static_cast<uint32_t>(options.seconds));
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::PinResponse response;
  return CallStore(store, &pb::KvStore::Stub::Pin, kStoreCallTimeout, request, &response);
}

absl::Status Unpin(const Options& options) {
  pb::UnpinRequest request;
  SKV_ASSIGN_OR_RETURN(*request.mutable_key(), ParseKey(options.key));
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::UnpinResponse response;
  return CallStore(store, &pb::KvStore::Stub::Unpin, kStoreCallTimeout, request, &response);
}

absl::Status Purge(const Options& options) {
  pb::PurgeRequest request;
  if (!options.tenant.empty()) {
    request.set_tenant(options.tenant == kCommonTenant ? "" : options.tenant);
  }
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::PurgeResponse purged;
  SKV_RETURN_IF_ERROR(CallStore(store, &pb::KvStore::Stub::Purge, kPurgeTimeout, request, &purged));
  if (options.json) {
    const nlohmann::ordered_json json = {{"num_entries", purged.num_entries()},
                                         {"bytes", purged.bytes()}};
    std::cout << json.dump() << std::endl;
  } else {
    std::cout << purged.num_entries() << " entries, " << purged.bytes() << " bytes" << std::endl;
  }
  return absl::OkStatus();
}

Flags& AddSubcommand(Flags* group, const char* name, const char* help, Options* options) {
  Flags& flags = group->AddCommand(name, help);
  flags.Add("endpoint", &options->endpoint, "gRPC port of the skv-kvstore, host:port");
  flags.Require("endpoint");
  return flags;
}

using OptionsPtr = std::shared_ptr<Options>;

Command AddStats(Flags* group, const OptionsPtr& options) {
  Flags& flags =
      AddSubcommand(group, "stats", "What it holds, and how much of it it may hold", options.get());
  flags.Add("json", &options->json, "Print one JSON object");
  flags.SetExamples("  skv kvstore stats --endpoint localhost:9400");
  return {&flags, [options] { return Stats(*options); }};
}

Command AddList(Flags* group, const OptionsPtr& options) {
  Flags& flags = AddSubcommand(group, "ls", "List its sentences", options.get());
  flags.Add("limit", &options->limit, IntRange{0, 1 << 30}, "Most of them; 0: all");
  flags.Add("json", &options->json, "Print a JSON object a line");
  flags.SetExamples(
      "  skv kvstore ls --endpoint localhost:9400\n"
      "  skv kvstore ls --endpoint localhost:9400 --limit 0 --json > entries.jsonl");
  return {&flags, [options] { return List(*options); }};
}

constexpr char kKeyHelp[] = "PREFIX/LAYOUT, as `skv kvstore ls` prints it";
constexpr char kExampleKey[] = "0123456789abcdef0123456789abcdef/00112233445566778899aabbccddeeff";

Command AddPin(Flags* group, const OptionsPtr& options) {
  Flags& flags = AddSubcommand(group, "pin", "Keep a sentence and the chain above it for a time",
                               options.get());
  flags.AddPositional("key", &options->key, kKeyHelp);
  flags.Require("key");
  flags.Add("seconds", &options->seconds, IntRange{1, kMaxPinSeconds}, "For how long, from now");
  flags.SetExamples(std::string("  skv kvstore pin --endpoint localhost:9400 --seconds 600 ") +
                    kExampleKey);
  return {&flags, [options] { return Pin(*options); }};
}

Command AddUnpin(Flags* group, const OptionsPtr& options) {
  Flags& flags = AddSubcommand(group, "unpin", "Let a pinned sentence go", options.get());
  flags.AddPositional("key", &options->key, kKeyHelp);
  flags.Require("key");
  flags.SetExamples(std::string("  skv kvstore unpin --endpoint localhost:9400 ") + kExampleKey);
  return {&flags, [options] { return Unpin(*options); }};
}

Command AddPurge(Flags* group, const OptionsPtr& options) {
  Flags& flags =
      AddSubcommand(group, "purge", "Evict what nobody has leased or pinned", options.get());
  flags.Add("tenant", &options->tenant,
            "Only of this one; - for all that have no quota; empty: of all");
  flags.Add("json", &options->json, "Print one JSON object");
  flags.SetExamples(
      "  skv kvstore purge --endpoint localhost:9400\n"
      "  skv kvstore purge --endpoint localhost:9400 --tenant batch");
  return {&flags, [options] { return Purge(*options); }};
}

}  // namespace

std::vector<Command> AddKvstoreCommands(Flags* program) {
  Flags& group = program->AddCommand("kvstore", "The block store of a host (skv-kvstore)");
  const auto fresh = [] { return std::make_shared<Options>(); };
  return {AddStats(&group, fresh()), AddList(&group, fresh()), AddVerifyCommand(&group),
          AddWarmCommand(&group),    AddPin(&group, fresh()),  AddUnpin(&group, fresh()),
          AddPurge(&group, fresh())};
}

}  // namespace skv::cli
