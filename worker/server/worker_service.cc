#include "worker/server/worker_service.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "worker/server/conversions.h"

namespace skv::server {
namespace {

namespace pb = worker::v1;

constexpr size_t kMaxRequestIdBytes = 128;

absl::Status CheckRequestId(const std::string& id) {
  bool printable = !id.empty() && id.size() <= kMaxRequestIdBytes;
  for (const char c : id) printable = printable && c > ' ' && c <= '~';
  if (printable) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("request_id: expected 1 to ", kMaxRequestIdBytes,
                                                 " printable ASCII characters without blanks, got ",
                                                 id.size(), " bytes"));
}

std::string StoreId(const std::array<uint8_t, 16>& epoch) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(epoch.data()), epoch.size()});
}

absl::Status CheckAllowed(const std::string& policy, const pb::ModelInfo& info) {
  const auto& allowed = info.kv_policies();
  if (std::ranges::find(allowed, policy, &pb::KvPolicy::name) != allowed.end()) {
    return absl::OkStatus();
  }
  const auto append_name = [](std::string* out, const auto& entry) { out->append(entry.name()); };
  return absl::InvalidArgumentError(
      absl::StrCat("kv_policy.name: got \"", policy, "\", expected one that this worker allows: ",
                   absl::StrJoin(allowed, ", ", append_name), " (--allowed-kv-policies)"));
}

// gRPC deadlines are wall-clock times; the engine's clock is monotonic.
std::optional<TimePoint> MonotonicDeadline(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
  const auto left = deadline - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24 * 365)) return std::nullopt;
  return RealClock().Now() + std::chrono::duration_cast<Duration>(left);
}

grpc::ServerUnaryReactor* Reply(grpc::CallbackServerContext* context) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace

WorkerService::WorkerService(Options options, engine::Engine* engine,
                             const engine::RankExecutor* executor)
    : options_(std::move(options)), engine_(engine), executor_(executor) {}

int WorkerService::num_open_streams() const {
  MutexLock lock(&mutex_);
  return static_cast<int>(streams_.size());
}

grpc::ServerWriteReactor<pb::GenerateEvent>* WorkerService::Generate(
    grpc::CallbackServerContext* context, const pb::GenerateRequest* proto) {
  const std::string id = proto->request_id();
  auto registered = std::make_shared<bool>(false);
  GenerateStream::Callbacks callbacks{.on_finish = options_.on_finish,
                                      .on_done =
                                          [this, id, registered] {
                                            if (*registered) Unregister(id);
                                          },
                                      .cancel_call = [context] { context->TryCancel(); }};
  auto stream = std::make_shared<GenerateStream>(engine_, proto->seeds_size(), options_.kv_heads,
                                                 std::move(callbacks));
  absl::StatusOr<engine::GenerationRequest> request = ToRequest(*proto);
  absl::Status status = request.ok() ? CheckRequestId(id) : request.status();
  if (status.ok()) status = CheckAllowed(request->policy.name, options_.model_info);
  if (status.ok()) status = Register(id, stream);
  if (!status.ok()) {
    stream->Refuse(status);
    return stream.get();
  }
  *registered = true;
  request->deadline = MonotonicDeadline(*context);
  if (options_.on_request) options_.on_request(*request);
  stream->Start(*std::move(request));
  return stream.get();
}

absl::Status WorkerService::Register(const std::string& id,
                                     const std::shared_ptr<GenerateStream>& stream) {
  if (draining_) return absl::UnavailableError("this worker is draining; use another group");
  MutexLock lock(&mutex_);
  if (static_cast<int>(streams_.size()) >= options_.max_open_streams) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this worker has ", streams_.size(), " open streams, its most"));
  }
  if (!streams_.emplace(id, stream).second) {
    return absl::InvalidArgumentError(
        absl::StrCat("request_id: \"", id, "\" is already running on this worker"));
  }
  return absl::OkStatus();
}

void WorkerService::Unregister(const std::string& id) {
  MutexLock lock(&mutex_);
  streams_.erase(id);
}

grpc::ServerUnaryReactor* WorkerService::CancelSamples(grpc::CallbackServerContext* context,
                                                       const pb::CancelSamplesRequest* request,
                                                       pb::CancelSamplesResponse*) {
  std::shared_ptr<GenerateStream> stream;
  {
    MutexLock lock(&mutex_);
    const auto it = streams_.find(request->request_id());
    if (it != streams_.end()) stream = it->second.lock();
  }
  if (stream != nullptr) {
    for (const int sample : request->sample_indices()) stream->CancelSample(sample);
  }
  return Reply(context);
}

grpc::ServerUnaryReactor* WorkerService::GetModelInfo(grpc::CallbackServerContext* context,
                                                      const pb::GetModelInfoRequest*,
                                                      pb::ModelInfo* response) {
  *response = options_.model_info;
  return Reply(context);
}

grpc::ServerUnaryReactor* WorkerService::GetLoad(grpc::CallbackServerContext* context,
                                                 const pb::GetLoadRequest*,
                                                 pb::LoadReport* response) {
  const engine::EngineStats stats = engine_->stats();
  response->set_epoch(options_.epoch);
  response->set_numerics_id(options_.model_info.numerics_id());
  response->set_draining(draining_);
  response->set_num_running(stats.scheduler.num_running);
  response->set_num_waiting(stats.scheduler.num_waiting);
  response->set_queued_tokens(stats.scheduler.queued_tokens);
  response->set_running_tokens(stats.scheduler.running_tokens);
  response->set_kv_tokens_used(stats.scheduler.kv_tokens_reserved);
  response->set_kv_tokens_total(stats.scheduler.kv_tokens_capacity);
  // An idle engine steps too, so an old step is a stall even where stats know of no request yet.
  response->set_step_age_ms(executor_->step_age_seconds() * 1e3);
  response->set_num_steps(stats.num_steps);
  if (stats.prefix.is_shared) {
    response->set_store_id(StoreId(stats.prefix.store_epoch));
    response->set_store_watch_address(options_.store_watch_address);
  }
  return Reply(context);
}

grpc::ServerUnaryReactor* WorkerService::Drain(grpc::CallbackServerContext* context,
                                               const pb::DrainRequest*, pb::DrainResponse*) {
  StartDrain();
  if (options_.on_drain) options_.on_drain();
  return Reply(context);
}

}  // namespace skv::server
