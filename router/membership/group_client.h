#pragma once
// One worker group as the router talks to it: plain structs and callbacks, so that everything above
// is tested without gRPC. Implementations: grpc_group_client.h, testing/fake_group_client.h.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/types.h"
#include "router/admission/group_request.h"
#include "router/admission/served_model.h"

namespace skv::router {

// Wall-clock end of a call, as gRPC carries it; max() is none.
using Deadline = std::chrono::system_clock::time_point;

struct LoadReport {
  uint64_t epoch = 0;  // changes when the worker restarts
  // Of the store where its prompts stay; empty: one of its own, as old as `epoch`.
  std::string store_id;
  std::string store_watch_address;  // host:port where that store can be followed; may be empty
  bool draining = false;
  int64_t num_running = 0;
  int64_t num_waiting = 0;
  int64_t unfinished_tokens = 0;  // prompt and generation tokens still to be processed
  // Since the leader ended a layer, which waits for every rank. Small without work, too: an idle
  // leader steps twice a second.
  Duration step_age{};
};

struct ProbeResult {
  bool serving = false;  // grpc.health.v1
  LoadReport load;
};

struct TopLogprob {
  TokenId id = 0;
  float logprob = 0;
};

struct GeneratedToken {
  TokenId id = 0;
  std::optional<float> logprob;
  std::vector<TopLogprob> top_logprobs;
};

// A sample that CancelSamples ended is of no interest any more and has none of these.
enum class FinishReason { kStop, kLength, kError };

struct GroupFinish {
  FinishReason reason = FinishReason::kStop;
  std::string message;  // for kError
};

struct WorkerTimings {
  double queue_ms = 0;
  double prefill_ms = 0;
};

// What min_recall asked for; skv.v1.RecallReport documents the fields.
struct RecallReport {
  double min_recall = 0;
  int64_t checked = 0;
  int64_t widened = 0;
  int64_t full = 0;
};

// What a sample's KV policy read; means over its generated positions, layers and KV heads.
struct KvReport {
  KvPolicy policy;
  std::string fingerprint;
  int64_t generated_positions = 0;
  double attended_tokens = 0;
  double choosing_tokens = 0;
  double visible_tokens = 0;
  double read_share = 1;
  std::optional<RecallReport> recall;  // of a request with min_recall
};

// One sentence of the prompt, as a generated one read it; skv.v1.SentenceRead documents the fields.
struct SentenceRead {
  int32_t token_begin = 0;
  int32_t token_end = 0;
  double score = 0;
  double heads_share = 0;
};

struct Explanation {
  int32_t token_begin = 0;  // of the sample's tokens
  int32_t token_end = 0;
  std::vector<SentenceRead> reads;
};

struct GroupEvent {
  int32_t sample_idx = 0;
  std::vector<GeneratedToken> tokens;
  std::optional<GroupFinish> finish;
  std::optional<int64_t> cached_tokens;
  std::optional<WorkerTimings> timings;  // with the sample's first token
  std::optional<KvReport> kv_report;     // with `finish`
  std::vector<Explanation> explanations;
};

// Calls come one at a time, on any thread; OnDone is the last.
class GroupStreamHandler {
 public:
  virtual ~GroupStreamHandler() = default;
  virtual void OnEvent(const GroupEvent& event) = 0;
  virtual void OnDone(absl::Status status) = 0;
};

// A running Generate call. Thread-safe.
class GroupStream {
 public:
  virtual ~GroupStream() = default;
  // Asks for the end; OnDone still follows. May be called at any time, also after the end.
  virtual void Cancel() = 0;
};

// Thread-safe. Callbacks run on any thread, also before the call that passed them returns. The
// client may be destroyed while calls are under way; their callbacks still come.
class GroupClient {
 public:
  virtual ~GroupClient() = default;

  // Health and load together. The callback comes within `timeout`, give or take scheduling.
  virtual void Probe(Duration timeout,
                     std::function<void(absl::StatusOr<ProbeResult>)> callback) = 0;

  virtual void FetchModelInfo(Duration timeout,
                              std::function<void(absl::StatusOr<ModelInfo>)> callback) = 0;

  // Starts the request. Unavailable (through OnDone): not connected, draining or lost.
  virtual std::shared_ptr<GroupStream> Generate(const GroupRequest& request, Deadline deadline,
                                                std::shared_ptr<GroupStreamHandler> handler) = 0;

  // Ends single samples of a running request; fire and forget.
  virtual void CancelSamples(std::string request_id, std::vector<int32_t> sample_idxs) = 0;
};

// `address` is host:port.
using GroupClientFactory = std::function<std::shared_ptr<GroupClient>(const std::string& address)>;

}  // namespace skv::router
