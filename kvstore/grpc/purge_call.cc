#include "kvstore/grpc/purge_call.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/status.h"
#include "kvstore/grpc/conversions.h"

namespace skv::kvstore {
namespace {

// Of one step, from its submission.
constexpr auto kMaxStepTime = std::chrono::seconds(10);

// After the start only the store's thread knows it.
class PurgeCall : public std::enable_shared_from_this<PurgeCall> {
 public:
  PurgeCall(CommandQueue* commands, grpc::CallbackServerContext* context,
            const v1::PurgeRequest& request, v1::PurgeResponse* response)
      : commands_(commands),
        context_(context),
        reactor_(context->DefaultReactor()),
        response_(response) {
    if (request.has_tenant()) name_ = request.tenant();
  }

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }

  void Submit() {
    const absl::Status submitted =
        commands_->Submit(RealClock().Now() + kMaxStepTime,
                          [self = shared_from_this()](const absl::StatusOr<StoreAdmin*>& admin) {
                            self->Run(admin);
                          });
    if (!submitted.ok()) Finish(submitted);
  }

 private:
  void Run(const absl::StatusOr<StoreAdmin*>& admin) {
    const absl::StatusOr<bool> is_done = admin.ok() ? Step(**admin) : admin.status();
    if (!is_done.ok()) return Finish(is_done.status());
    if (*is_done) return Finish(absl::OkStatus());
    Submit();
  }

  absl::StatusOr<bool> Step(StoreAdmin& admin) {
    // Also when its deadline has passed.
    if (context_->IsCancelled()) return absl::CancelledError("purge: the caller went away");
    if (!num_left_.has_value()) {
      num_left_ = admin.GetStats().store.index.num_entries;
      if (name_.has_value()) {
        SKV_ASSIGN_OR_RETURN(tenant_, admin.FindTenant(*name_));
      }
    }
    const Purged purged = admin.Purge(tenant_, *num_left_);
    *num_left_ -= purged.num_entries;
    response_->set_num_entries(response_->num_entries() + purged.num_entries);
    response_->set_bytes(response_->bytes() + static_cast<uint64_t>(purged.bytes));
    return purged.is_done || *num_left_ == 0;
  }

  void Finish(const absl::Status& status) { reactor_->Finish(ToGrpcStatus(status)); }

  CommandQueue* const commands_;
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  v1::PurgeResponse* const response_;
  std::optional<std::string> name_;
  std::optional<TenantIdx> tenant_;
  std::optional<uint32_t> num_left_;  // once it has begun
};

}  // namespace

grpc::ServerUnaryReactor* StartPurge(CommandQueue* commands, grpc::CallbackServerContext* context,
                                     const v1::PurgeRequest& request, v1::PurgeResponse* response) {
  const auto call = std::make_shared<PurgeCall>(commands, context, request, response);
  call->Submit();
  return call->reactor();
}

}  // namespace skv::kvstore
