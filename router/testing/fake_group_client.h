#pragma once
// A worker group inside the test: it answers probes from a few fields, and the test plays its
// streams.

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/membership/group_client.h"
#include "text/sentence_segmenter.h"
#include "text/testing/tiny_spec.h"

namespace skv::router {

// Ids 0..255 are the bytes of the same value (text/testing/tiny_spec.h), with ChatML.
inline ModelInfo TinyModel(std::string fingerprint = "f1", std::string name = "tiny") {
  ModelInfo info{
      .name = std::move(name),
      .fingerprint = std::move(fingerprint),
      .context_length = 1000,
      .tokenizer = text::TinySpec({}),
      .numerics_id = "numerics",
      .kv_policies = {.default_name = "full", .policies = {{"full"}, {"sentencekv", 1024, 0}}}};
  info.prefix_naming = {.model_name = "tiny file",
                        .model_revision = info.fingerprint,
                        .segmenter_id = std::string(text::kSegmenterId),
                        .kv_policies = {"full", "sentencekv"}};
  info.tokenizer.chat_template = "<|im_start|> <|im_end|>";
  info.vocab_size = static_cast<int64_t>(info.tokenizer.tokens.size());
  return info;
}

class FakeGroupStream : public GroupStream {
 public:
  FakeGroupStream(GroupRequest r, std::shared_ptr<GroupStreamHandler> h)
      : request(std::move(r)), handler(std::move(h)) {}
  void Cancel() override { cancelled = true; }

  // One token for each byte of `text`.
  void Send(std::string_view text, int32_t sample_idx = 0) {
    GroupEvent event{.sample_idx = sample_idx};
    for (const char c : text) event.tokens.push_back({.id = static_cast<unsigned char>(c)});
    handler->OnEvent(event);
  }
  void SendFinish(FinishReason reason, int32_t sample_idx = 0) {
    ended = true;
    handler->OnEvent({.sample_idx = sample_idx, .finish = GroupFinish{reason, ""}});
  }

  const GroupRequest request;
  const std::shared_ptr<GroupStreamHandler> handler;
  bool cancelled = false;
  // The worker is done with it. A cut connection alone does not end it there: its step may hang.
  bool ended = false;
};

// Not thread-safe: everything happens on the test's thread.
class FakeGroupClient : public GroupClient {
 public:
  void Probe(Duration, std::function<void(absl::StatusOr<ProbeResult>)> callback) override {
    ++num_probes;
    if (!silent) return callback(probe);
    unanswered.push_back(std::move(callback));
  }
  void FetchModelInfo(Duration, std::function<void(absl::StatusOr<ModelInfo>)> callback) override {
    ++num_fetches;
    callback(info);
  }
  std::shared_ptr<GroupStream> Generate(const GroupRequest& request, Deadline deadline,
                                        std::shared_ptr<GroupStreamHandler> handler) override {
    last_deadline = deadline;
    const absl::Status refused = IsRunning(request.request_id)
                                     ? absl::InvalidArgumentError("request_id: already running")
                                     : refusal;
    if (!refused.ok()) handler->OnDone(refused);
    streams.push_back(std::make_shared<FakeGroupStream>(request, std::move(handler)));
    streams.back()->ended = !refused.ok();
    return streams.back();
  }
  void CancelSamples(std::string request_id, std::vector<int32_t> sample_idxs) override {
    cancelled_in.push_back(std::move(request_id));
    cancelled_samples.insert(cancelled_samples.end(), sample_idxs.begin(), sample_idxs.end());
  }

  absl::StatusOr<ProbeResult> probe = ProbeResult{.serving = true, .load = {.epoch = 1}};
  absl::StatusOr<ModelInfo> info = TinyModel();
  bool silent = false;  // answers no probe, like a stopped process
  std::vector<std::function<void(absl::StatusOr<ProbeResult>)>> unanswered;
  absl::Status refusal;  // of every Generate
  std::vector<std::shared_ptr<FakeGroupStream>> streams;
  std::vector<int32_t> cancelled_samples;
  std::vector<std::string> cancelled_in;  // the request of each CancelSamples
  Deadline last_deadline;
  int num_probes = 0;
  int num_fetches = 0;

 private:
  bool IsRunning(std::string_view request_id) const {
    return std::ranges::any_of(streams, [request_id](const auto& stream) {
      return !stream->ended && stream->request.request_id == request_id;
    });
  }
};

// The groups of one test by address; a client is made when it is first asked for.
class FakeGroups {
 public:
  FakeGroups() = default;
  ~FakeGroups() { Clear(); }
  FakeGroups(const FakeGroups&) = delete;
  FakeGroups& operator=(const FakeGroups&) = delete;

  // A stream holds its handler, which holds its group: without this they would never end.
  void Clear() {
    for (const auto& [address, client] : clients_) client->streams.clear();
    clients_.clear();
  }
  FakeGroupClient& operator[](const std::string& address) {
    auto& client = clients_[address];
    if (client == nullptr) client = std::make_shared<FakeGroupClient>();
    return *client;
  }
  GroupClientFactory factory() {
    return [this](const std::string& address) {
      (*this)[address];
      return clients_[address];
    };
  }

 private:
  std::map<std::string, std::shared_ptr<FakeGroupClient>> clients_;
};

}  // namespace skv::router
