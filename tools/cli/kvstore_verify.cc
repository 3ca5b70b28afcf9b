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
// Without any progress; it compares thousands of blocks a second, and waits 10 s for leases.
constexpr auto kMaxStandstill = std::chrono::seconds(60);

struct Options {
  std::string endpoint;
  bool json = false;
};

// Until it has ended.
absl::Status Follow(const StorePtr& store, pb::VerifyResponse* verified) {
  const ProgressLine line;
  TimePoint give_up = RealClock().Now() + kMaxStandstill;
  while (verified->is_running()) {
    std::this_thread::sleep_for(kPollPeriod);
    pb::VerifyRequest request;
    request.set_id(verified->id());
    const uint64_t num_before = verified->num_walked_places();
    SKV_RETURN_IF_ERROR(
        CallStore(store, &pb::KvStore::Stub::Verify, kStoreCallTimeout, request, verified));
    line.Show(absl::StrCat(ProgressBar(verified->num_walked_places(), verified->num_places()), "  ",
                           RenderVerified(*verified)));
    if (verified->num_walked_places() > num_before) give_up = RealClock().Now() + kMaxStandstill;
    if (RealClock().Now() >= give_up) {
      return absl::DeadlineExceededError(
          absl::StrCat("verify: the store stands still at place ", verified->num_walked_places(),
                       " of ", verified->num_places(), "; see its log, and try again"));
    }
  }
  return absl::OkStatus();
}

absl::Status Verify(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const StorePtr store, OpenStore(options.endpoint));
  pb::VerifyResponse verified;
  SKV_RETURN_IF_ERROR(CallStore(store, &pb::KvStore::Stub::Verify, kStoreCallTimeout,
                                pb::VerifyRequest(), &verified));
  SKV_RETURN_IF_ERROR(Follow(store, &verified));
  if (options.json) {
    std::cout << ToJson(verified).dump() << std::endl;
  } else {
    std::cout << RenderVerified(verified) << "\n";
    for (const pb::Key& key : verified.damaged()) std::cout << "dropped " << KeyText(key) << "\n";
    std::cout << std::flush;
  }
  return StatusOf(verified);
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
      "  1  some were damaged, and are dropped; or some were skipped, as the store had no lease "
      "left\n"
      "     for them; or another verification is running\n"
      "  2  wrong use; or the store was started anew meanwhile\n"
      "  3  the store cannot be reached, or stands still");
  return {&flags, [options] { return Verify(*options); }};
}

}  // namespace skv::cli
