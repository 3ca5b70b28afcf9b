#pragma once
// One Read call: sends what its hold has, one write in flight.

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "kvstore/grpc/read_hold.h"
#include "kvstore/grpc/read_messages.h"

namespace skv::kvstore {

// Belongs to whoever is to begin it, then to gRPC until it is done with it.
class ReadStream : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `holds` outlives this object, `context` is the call's.
  ReadStream(std::shared_ptr<ReadHold> hold, ReadHolds* holds, grpc::CallbackServerContext* context)
      : hold_(std::move(hold)), holds_(holds), context_(context) {}

  ReadHold& hold() { return *hold_; }
  bool IsCancelled() const { return context_->IsCancelled(); }

  // Sends the blocks of the hold's chain or, where `status` is not OK, ends the call with it. Not
  // on the thread that owns the store: gRPC may send at once. From here on this object deletes
  // itself.
  void Begin(const absl::Status& status);

  // gRPC's threads.
  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  std::shared_ptr<ReadHold> hold_;
  ReadHolds* const holds_;
  grpc::CallbackServerContext* const context_;
  std::optional<BlockMessages> messages_;
  grpc::ByteBuffer message_;  // being written
};

}  // namespace skv::kvstore
