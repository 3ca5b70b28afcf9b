#include "eval/cancel/storm.h"

#include <algorithm>
#include <memory>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status.h"
#include "eval/cancel/scrape.h"
#include "eval/cancel/stream_call.h"

namespace skv::eval {
namespace {

using std::chrono::milliseconds;

constexpr auto kCallTimeout = std::chrono::seconds(120);
constexpr auto kPoll = milliseconds(20);
constexpr size_t kMaxProblems = 20;

constexpr const char* kBlockGauges[] = {"skv_worker_kv_blocks", "skv_worker_kv_slot_pages"};
constexpr const char* kStreamGauges[] = {"skv_worker_open_streams", "skv_worker_requests_running",
                                         "skv_worker_requests_waiting",
                                         "skv_router_requests_in_flight"};
constexpr const char* kOutstandingGauge = "skv_router_outstanding_tokens";

constexpr const char* kCancelledCounter = "skv_worker_samples_cancelled_total";
constexpr const char* kStepsAfterCancelGauge = "skv_worker_max_steps_after_cancel";
constexpr const char* kPrefillsGauge = "skv_worker_prefills_running";
constexpr auto kPrefillPoll = milliseconds(3);

enum class Role { kSurvivor, kVictim, kPrefillVictim };

struct Gauges {
  double blocks = 0, streams = 0, outstanding = 0;
  bool AllZero() const { return blocks == 0 && streams == 0 && outstanding == 0; }
};

struct Footprint {
  double descriptors = 0, memory_bytes = 0;
};

std::string WordPrompt(int num_words, uint64_t seed) {
  static constexpr const char* kWords[] = {"river", "stone",  "the",   "and",   "lamp", "seven",
                                           "of",    "letter", "north", "quiet", "in",   "glass"};
  std::minstd_rand random(static_cast<uint32_t>(seed * 2654435761u + 1));
  std::string prompt = absl::StrCat("Story ", seed, ":");
  for (int i = 0; i < num_words; ++i) {
    absl::StrAppend(&prompt, " ", kWords[random() % std::size(kWords)]);
  }
  return prompt;
}

v1::GenerateRequest MakeRequest(std::string prompt, int max_tokens, uint64_t seed) {
  v1::GenerateRequest request;
  request.set_text(std::move(prompt));
  request.set_max_tokens(max_tokens);
  request.set_temperature(0.8);
  request.set_seed(seed);
  request.set_ignore_eos(true);
  return request;
}

class Storm {
 public:
  explicit Storm(const StormOptions& options)
      : options_(options), random_(options.seed), channel_(ConnectTo(options.endpoint)) {}

  absl::StatusOr<StormReport> Run() {
    SKV_RETURN_IF_ERROR(RunSolo());
    SKV_RETURN_IF_ERROR(CountCancels(-1));
    for (int round = 1; round <= options_.num_rounds; ++round) {
      RunRound(round);
      SKV_RETURN_IF_ERROR(CheckIdle(round));
      if (round == std::min(options_.baseline_round, options_.num_rounds)) {
        SKV_ASSIGN_OR_RETURN(baseline_, MeasureFootprints());
      }
    }
    SKV_RETURN_IF_ERROR(CompareFootprints());
    SKV_RETURN_IF_ERROR(CountCancels(1));
    report_.num_rounds = options_.num_rounds;
    return std::move(report_);
  }

 private:
  struct Stream {
    Role role;
    int survivor_idx = 0;
    double moment = 0;  // of the cancel, uniform in [0, 1) of the span that it is drawn from
    v1::GenerateRequest request;
    std::unique_ptr<StreamCall> call;
    bool was_open = false;  // when it was cancelled
  };

  int num_survivors() const { return options_.num_streams / 2; }

  v1::GenerateRequest SurvivorRequest(int survivor_idx) const {
    const uint64_t seed = options_.seed * 1000 + survivor_idx;
    return MakeRequest(WordPrompt(options_.prompt_words, seed), options_.survivor_tokens, seed);
  }

  absl::Status RunSolo() {
    const TimePoint start = RealClock().Now();
    for (int i = 0; i < num_survivors(); ++i) {
      StreamResult result = Call(channel_, SurvivorRequest(i), kCallTimeout);
      if (!result.status.ok()) {
        return absl::UnavailableError(absl::StrCat("solo run ", i, " at ", options_.endpoint,
                                                   ": code ", result.status.error_code(), ", ",
                                                   result.status.error_message()));
      }
      solo_.push_back(std::move(result.tokens));
    }
    span_ = (RealClock().Now() - start) / 4;
    return absl::OkStatus();
  }

  std::vector<Stream> DrawStreams() {
    const int num_victims = options_.num_streams - num_survivors();
    std::vector<Stream> streams(options_.num_streams);
    for (int i = 0; i < options_.num_streams; ++i) {
      if (i < num_survivors()) {
        streams[i] = {.role = Role::kSurvivor, .survivor_idx = i};
      } else {
        streams[i].role =
            i < num_survivors() + num_victims / 2 ? Role::kPrefillVictim : Role::kVictim;
      }
      streams[i].request = DrawRequest(streams[i]);
      streams[i].moment = static_cast<double>(random_() % 1000) / 1000;
    }
    std::shuffle(streams.begin(), streams.end(), random_);
    return streams;
  }

  v1::GenerateRequest DrawRequest(const Stream& stream) {
    if (stream.role == Role::kSurvivor) return SurvivorRequest(stream.survivor_idx);
    const int words =
        stream.role == Role::kPrefillVictim ? options_.prefill_prompt_words : options_.prompt_words;
    return MakeRequest(WordPrompt(words, random_()), options_.victim_tokens, random_());
  }

  void StartStream(Stream* stream) {
    stream->call = std::make_unique<StreamCall>(channel_, stream->request, kCallTimeout);
  }

  static void CancelStream(Stream* stream) {
    stream->was_open = !stream->call->ended();
    stream->call->Cancel();
  }

  void RunRound(int round) {
    std::vector<Stream> streams = DrawStreams();
    std::vector<Stream*> victims, prefill_victims, survivors;
    for (Stream& stream : streams) {
      auto& with_role = stream.role == Role::kSurvivor ? survivors
                        : stream.role == Role::kVictim ? victims
                                                       : prefill_victims;
      with_role.push_back(&stream);
    }
    const TimePoint start = RealClock().Now();
    for (Stream& stream : streams) {
      if (stream.role != Role::kPrefillVictim) StartStream(&stream);
    }
    Duration span{};
    std::thread volley([&] {
      // When the other prompts are done: a step then takes all of these together.
      for (Stream* other : victims) other->call->WaitForTokens(1);
      for (Stream* other : survivors) other->call->WaitForTokens(1);
      CancelInPrefill(prefill_victims);
      for (const Stream* survivor : survivors) survivor->call->Wait();
      span = RealClock().Now() - start;
    });
    CancelAtAnyMoment(start, victims);
    volley.join();
    span_ = span;
    for (Stream& stream : streams) {
      const StreamResult result = stream.call->Wait();
      if (stream.role == Role::kSurvivor) CheckSurvivor(round, stream.survivor_idx, result);
      if (stream.was_open) ++report_.num_cancelled;
    }
  }

  void CancelAtAnyMoment(TimePoint start, std::vector<Stream*> victims) {
    std::sort(victims.begin(), victims.end(),
              [](const Stream* a, const Stream* b) { return a->moment < b->moment; });
    for (Stream* victim : victims) {
      std::this_thread::sleep_until(start +
                                    std::chrono::duration_cast<Duration>(span_ * victim->moment));
      CancelStream(victim);
    }
  }

  // Starts all of them together, and cancels them in a random order once a step computes the
  // prompts of at least a half of them.
  void CancelInPrefill(const std::vector<Stream*>& victims) {
    for (Stream* victim : victims) StartStream(victim);
    const auto has_token = [](const Stream* victim) {
      return victim->call->ended() || victim->call->num_tokens() > 0;
    };
    const auto half = static_cast<std::ptrdiff_t>(victims.size() / 2);
    // They may arrive over several steps; once a half has tokens it is too late.
    while (std::count_if(victims.begin(), victims.end(), has_token) < half) {
      const absl::StatusOr<MetricValues> values = ReadAll();
      if (!values.ok()) break;  // CheckIdle reports it
      const absl::StatusOr<double> prefills = SumOf(*values, kPrefillsGauge);
      if (!prefills.ok() || *prefills >= static_cast<double>(half)) break;
      std::this_thread::sleep_for(kPrefillPoll);
    }
    for (Stream* victim : victims) CancelStream(victim);
  }

  // Adds what the workers have counted so far, `sign` times.
  absl::Status CountCancels(int sign) {
    SKV_ASSIGN_OR_RETURN(const MetricValues values, ReadAll());
    const auto add = [&](const char* phase, int* total) {
      const auto count = SumOf(values, kCancelledCounter, absl::StrCat("phase=\"", phase, "\""));
      if (count.ok()) *total += sign * static_cast<int>(*count);
      return count.status();
    };
    SKV_RETURN_IF_ERROR(add("waiting", &report_.num_waiting));
    SKV_RETURN_IF_ERROR(add("prefill", &report_.num_in_prefill));
    SKV_RETURN_IF_ERROR(add("prompt_end", &report_.num_at_prompt_end));
    SKV_RETURN_IF_ERROR(add("decode", &report_.num_in_decode));
    SKV_ASSIGN_OR_RETURN(const double steps, SumOf(values, kStepsAfterCancelGauge));
    report_.max_steps_after_cancel = static_cast<int>(steps);
    return absl::OkStatus();
  }

  void CheckSurvivor(int round, int survivor_idx, const StreamResult& result) {
    ++report_.num_survivors;
    if (result.status.ok() && result.tokens == solo_[survivor_idx]) return;
    ++report_.wrong_survivors;
    AddProblem(absl::StrCat("round ", round, ", survivor ", survivor_idx, ": code ",
                            result.status.error_code(), " ", result.status.error_message(), ", ",
                            result.tokens.size(), " tokens that differ from the solo run"));
  }

  // Waits until every gauge is at 0, and notes those that do not get there.
  absl::Status CheckIdle(int round) {
    const TimePoint start = RealClock().Now();
    Gauges gauges;
    do {
      SKV_ASSIGN_OR_RETURN(gauges, ReadGauges());
      if (gauges.AllZero()) break;
      std::this_thread::sleep_for(kPoll);
    } while (RealClock().Now() < start + options_.idle_timeout);
    report_.slowest_idle_seconds =
        std::max(report_.slowest_idle_seconds, ToSeconds(RealClock().Now() - start));
    report_.leaked_blocks = std::max(report_.leaked_blocks, gauges.blocks);
    report_.leaked_streams = std::max(report_.leaked_streams, gauges.streams);
    report_.leaked_outstanding_tokens =
        std::max(report_.leaked_outstanding_tokens, gauges.outstanding);
    if (!gauges.AllZero()) {
      AddProblem(absl::StrCat("round ", round, ": ", gauges.blocks, " blocks and pages, ",
                              gauges.streams, " streams and requests, ", gauges.outstanding,
                              " outstanding tokens are left"));
    }
    return absl::OkStatus();
  }

  // Of all processes.
  absl::StatusOr<MetricValues> ReadAll() const {
    MetricValues all;
    for (const ProcessEndpoint& process : options_.processes) {
      SKV_ASSIGN_OR_RETURN(const MetricValues values, ScrapeMetrics(process.admin_port));
      for (const auto& [series, value] : values) all[series] += value;
    }
    return all;
  }

  absl::StatusOr<Gauges> ReadGauges() const {
    SKV_ASSIGN_OR_RETURN(const MetricValues all, ReadAll());
    Gauges gauges;
    for (const char* name : kBlockGauges) {
      SKV_ASSIGN_OR_RETURN(const double blocks, SumOf(all, name));
      gauges.blocks += blocks;
    }
    for (const char* name : kStreamGauges) {
      SKV_ASSIGN_OR_RETURN(const double streams, SumOf(all, name));
      gauges.streams += streams;
    }
    SKV_ASSIGN_OR_RETURN(gauges.outstanding, SumOf(all, kOutstandingGauge));
    return gauges;
  }

  absl::StatusOr<std::vector<Footprint>> MeasureFootprints() const {
    std::vector<Footprint> footprints;
    for (const ProcessEndpoint& process : options_.processes) {
      SKV_ASSIGN_OR_RETURN(const MetricValues values, ScrapeMetrics(process.admin_port));
      Footprint footprint;
      SKV_ASSIGN_OR_RETURN(footprint.descriptors, SumOf(values, "skv_process_open_fds"));
      SKV_ASSIGN_OR_RETURN(footprint.memory_bytes,
                           SumOf(values, "skv_process_resident_bytes", "kind=\"anonymous\""));
      footprints.push_back(footprint);
    }
    return footprints;
  }

  absl::Status CompareFootprints() {
    SKV_ASSIGN_OR_RETURN(const std::vector<Footprint> last, MeasureFootprints());
    for (size_t i = 0; i < last.size(); ++i) {
      report_.descriptor_growth =
          std::max(report_.descriptor_growth, last[i].descriptors - baseline_[i].descriptors);
      report_.memory_growth_bytes =
          std::max(report_.memory_growth_bytes, last[i].memory_bytes - baseline_[i].memory_bytes);
    }
    return absl::OkStatus();
  }

  void AddProblem(std::string problem) {
    if (report_.problems.size() < kMaxProblems) report_.problems.push_back(std::move(problem));
  }

  const StormOptions options_;
  std::mt19937_64 random_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::vector<std::vector<TokenId>> solo_;  // of each survivor
  std::vector<Footprint> baseline_;
  Duration span_{};  // of the last round until its survivors ended: moments lie in it
  StormReport report_;
};

}  // namespace

absl::StatusOr<StormReport> RunStorm(const StormOptions& options) { return Storm(options).Run(); }

}  // namespace skv::eval
