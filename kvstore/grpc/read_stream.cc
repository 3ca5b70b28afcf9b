#include "kvstore/grpc/read_stream.h"

#include "kvstore/grpc/conversions.h"

namespace skv::kvstore {

void ReadStream::Begin(const absl::Status& status) {
  if (!status.ok()) return Finish(ToGrpcStatus(status));
  messages_.emplace(hold_);
  message_ = SizesMessage(hold_->chain());
  StartWrite(&message_);
}

void ReadStream::OnWriteDone(bool ok) {
  message_.Clear();
  if (!ok) return Finish(ToGrpcStatus(absl::CancelledError("the caller went away")));
  if (messages_->is_done()) {
    holds_->CountSent(hold_->chain());
    return Finish(grpc::Status::OK);
  }
  message_ = messages_->Next();
  StartWrite(&message_);
}

void ReadStream::OnDone() { delete this; }

}  // namespace skv::kvstore
