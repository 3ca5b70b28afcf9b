#include "bench/hostile/healthy_client.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace skv::hostile {

using kvstore::CreateOutcome;
using kvstore::CreateReplyItem;
using kvstore::GetReply;
using kvstore::Sentence;

namespace {

constexpr int kChainLength = 20;
constexpr uint64_t kPayloadBytes = 4096;
constexpr std::chrono::seconds kSettleTime{10};
// What clients hold, and what that takes of the process.
constexpr const char* kHeld[] = {"clients",
                                 "sessions",
                                 "leases",
                                 "waits",
                                 "leased_entries",
                                 "leased_bytes",
                                 "entries{state=\"created\"}",
                                 "entries{state=\"dropped\"}",
                                 "skv_process_open_fds"};

}  // namespace

absl::Status Expect(bool condition, std::string_view problem) {
  return condition ? absl::OkStatus() : absl::InternalError(Sv(problem));
}

bool IsWhole(const Sentence& sentence, std::span<const std::byte> place) {
  if (!kvstore::IsIntact(sentence, kvstore::TestHello(), place)) return false;
  const auto payload = place.subspan(kvstore::HeaderBytes(1)).first(sentence.item.payload_bytes);
  return std::ranges::all_of(payload, [&](std::byte byte) { return byte == sentence.fill; });
}

template <typename Act>
auto HealthyClient::Timed(Act act) {
  const TimePoint begin = RealClock().Now();
  auto result = act();
  const std::chrono::duration<double, std::milli> time = RealClock().Now() - begin;
  worst_ms_ = std::max(worst_ms_, time.count());
  return result;
}

HealthyClient::HealthyClient(StoreProcess* store, int first_number, double max_ms)
    : store_(store), client_(store->socket()), next_number_(first_number), max_ms_(max_ms) {
  for (int i = 0; i < kChainLength; ++i) {
    chain_.push_back(
        kvstore::MakeSentence(next_number_++, i == 0 ? nullptr : &chain_.back(), kPayloadBytes));
    SKV_CHECK(client_.Store(chain_.back()).has_value());
  }
  keys_ = KeysOf(chain_);
}

absl::StatusOr<std::map<std::string, double>> HealthyClient::HeldGauges() const {
  SKV_ASSIGN_OR_RETURN(const auto metrics, store_->Metrics());
  std::map<std::string, double> held;
  for (const char* name : kHeld) {
    const auto found = metrics.find(name);
    if (found == metrics.end()) return absl::InternalError(absl::StrCat("no series ", name));
    held.insert(*found);
  }
  return held;
}

absl::Status HealthyClient::TakeBaseline() {
  // The store publishes after each turn, and it turns once a second at least.
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  SKV_ASSIGN_OR_RETURN(baseline_, HeldGauges());
  return absl::OkStatus();
}

absl::Status HealthyClient::CheckBaseline() const {
  const TimePoint end = RealClock().Now() + kSettleTime;
  while (true) {
    SKV_ASSIGN_OR_RETURN(const auto held, HeldGauges());
    if (held == baseline_) return absl::OkStatus();
    if (RealClock().Now() > end) {
      std::string problem = "is not given back:";
      for (const auto& [name, value] : held) {
        if (value == baseline_.at(name)) continue;
        absl::StrAppend(&problem, " ", name, " is ", value, ", was ", baseline_.at(name));
      }
      return absl::InternalError(problem);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

absl::Status HealthyClient::CheckChain() {
  const GetReply got = Timed([&] { return client_.Get(keys_); });
  SKV_RETURN_IF_ERROR(Expect(got.blocks.size() == keys_.size(), "a leased block is not found"));
  for (size_t i = 0; i < chain_.size(); ++i) {
    SKV_RETURN_IF_ERROR(Expect(IsWhole(chain_[i], client_.PlaceOf(got.blocks[i])),
                               absl::StrCat("block ", i, " of the held chain has other bytes")));
  }
  return Expect(Timed([&] { return client_.Release(got.lease); }) == absl::StatusCode::kOk,
                "a lease cannot be released");
}

absl::Status HealthyClient::WriteNew(Sentence* written) {
  *written = kvstore::MakeSentence(next_number_++);
  const CreateReplyItem created = Timed([&] { return client_.Create(*written); });
  SKV_RETURN_IF_ERROR(Expect(created.outcome == CreateOutcome::kCreated,
                             absl::StrCat("a block cannot be created: code ", created.code)));
  client_.Write(*written, created.range);
  SKV_RETURN_IF_ERROR(Expect(Timed([&] { return client_.Seal(created.lease); }).is_visible,
                             "a block cannot be sealed"));
  return Expect(Timed([&] { return client_.Release(created.lease); }) == absl::StatusCode::kOk,
                "a written block cannot be released");
}

absl::Status HealthyClient::CheckServed() {
  SKV_RETURN_IF_ERROR(CheckChain());
  Sentence written;
  return WriteNew(&written);
}

absl::Status HealthyClient::CheckAll() {
  SKV_RETURN_IF_ERROR(
      Expect(store_->is_running(), absl::StrCat("skv-kvstore has ended: ", store_->Output())));
  SKV_RETURN_IF_ERROR(CheckChain());
  Sentence written;
  SKV_RETURN_IF_ERROR(WriteNew(&written));
  {
    kvstore::TestClient other(store_->socket());
    const GetReply got = other.Get({written.item.key});
    SKV_RETURN_IF_ERROR(
        Expect(got.blocks.size() == 1 && IsWhole(written, other.PlaceOf(got.blocks[0])),
               "another client does not find what was written"));
  }
  SKV_RETURN_IF_ERROR(
      Expect(worst_ms_ < max_ms_, absl::StrCat("a request took ", worst_ms_, " ms")));
  return CheckBaseline();
}

double HealthyClient::TakeWorstMs() { return std::exchange(worst_ms_, 0); }

}  // namespace skv::hostile
