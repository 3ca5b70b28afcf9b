// `skv kvstore verify`: has a store compare all its blocks with their checksums.

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status.h"
#include "tools/cli/kvstore_commands.h"
#include "tools/cli/kvstore_stub.h"
#include "tools/cli/kvstore_view.h"
#include "tools/cli/progress_line.h"

namespace skv::cli {
namespace {

namespace pb = kvstore::v1;

constexpr auto kPollPeriod = std::chrono::milliseconds(100);
// Without any progress; it compares thousands of blocks a second.
constexpr auto kMaxStandstill = std::chrono::seconds(60);

struct Options {
  std::string endpoint;
  bool json = false;
};

// Until it has ended; `num_entries` are about to be compared.
absl::Status Follow(const StorePtr& store, uint64_t num_entries, pb::VerifyResponse* verified) {
  const ProgressLine line;
  TimePoint give_up = RealClock().Now() + kMaxStandstill;
  while (verified->is_running()) {
    std::this_thread::sleep_for(kPollPeriod);
    pb::VerifyRequest request;
    request.set_id(verified->id());
    const uint64_t num_before = verified->num_entries();
    SKV_RETURN_IF_ERROR(
        CallStore(store, &pb::KvStore::Stub::Verify, kStoreCallTimeout, request, verified));
    line.Show(absl::StrCat(ProgressBar(verified->num_entries(), num_entries), "  ",
                           RenderVerified(*verified)));
    if (verified->num_entries() > num_before) give_up = RealClock().Now() + kMaxStandstill;
    if (RealClock().Now() >= give_up) {
      return absl::DeadlineExceededError(absl::StrCat("verify: the store stands still at ",
                                                      verified->num_entries(),
                                                      " entries; see its log, and try again"));
    }
  }
  return absl::OkStatus();
}

absl::Status Verify(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::Stats stats;
  SKV_RETURN_IF_ERROR(CallStore(store, &pb::KvStore::Stub::GetStats, kStoreCallTimeout,
                                pb::GetStatsRequest(), &stats));
  pb::VerifyResponse verified;
  SKV_RETURN_IF_ERROR(CallStore(store, &pb::KvStore::Stub::Verify, kStoreCallTimeout,
                                pb::VerifyRequest(), &verified));
  SKV_RETURN_IF_ERROR(Follow(store, stats.num_sealed_entries(), &verified));
  if (options.json) {
    std::cout << ToJson(verified).dump() << std::endl;
  } else {
    std::cout << RenderVerified(verified) << "\n";
    for (const pb::Key& key : verified.damaged()) std::cout << "dropped " << KeyText(key) << "\n";
    std::cout << std::flush;
  }
  if (verified.num_damaged_entries() == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("verify: ", verified.num_damaged_entries(),
                   " damaged entries were dropped, and are computed again when they are asked for; "
                   "if it happens again, test this host's memory"));
}

}  // namespace

Command AddVerifyCommand(Flags* group) {
  auto options = std::make_shared<Options>();
  Flags& flags = group->AddCommand(
      "verify", "Compare all blocks in its memory with their checksums, and drop damaged ones");
  flags.Add("endpoint", &options->endpoint, "gRPC port of the skv-kvstore, host:port");
  flags.Require("endpoint");
  flags.Add("json", &options->json, "Print one JSON object");
  flags.SetExamples(
      "  skv kvstore verify --endpoint localhost:9400\n"
      "  skv kvstore verify --endpoint localhost:9400 --json");
  flags.SetExitCodes(
      "  0  all are whole\n"
      "  1  some were damaged, and are dropped; or another verification is running\n"
      "  2  wrong use; or the store was started anew meanwhile\n"
      "  3  the store cannot be reached, or stands still");
  return {&flags, [options] { return Verify(*options); }};
}

}  // namespace skv::cli
