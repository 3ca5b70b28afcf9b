#include "kvstore/grpc/kvstore_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/grpc/conversions.h"
#include "kvstore/grpc/purge_call.h"
#include "kvstore/watch/watch_conversions.h"

namespace skv::kvstore {
namespace {

constexpr auto kMaxCommandTime = std::chrono::seconds(10);

// A stream that never began. Owns itself.
template <typename Message>
class RefusedStream : public grpc::ServerWriteReactor<Message> {
 public:
  explicit RefusedStream(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};
using RefusedWatch = RefusedStream<v1::WatchResponse>;
using RefusedRead = RefusedStream<grpc::ByteBuffer>;

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// gRPC deadlines are wall-clock times; the store's clock is monotonic.
TimePoint DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto left = std::min<std::chrono::system_clock::duration>(
      context.deadline() - std::chrono::system_clock::now(), kMaxCommandTime);
  return RealClock().Now() + std::chrono::duration_cast<Duration>(left);
}

absl::StatusOr<ReadQuery> ParseReadQuery(const grpc::CallbackServerContext& context,
                                         const grpc::ByteBuffer& message) {
  SKV_ASSIGN_OR_RETURN(const v1::ReadRequest request, ParseReadRequest(message));
  if (request.keys_size() < 1 || request.keys_size() > kMaxReadKeys) {
    return absl::InvalidArgumentError(
        absl::StrCat("keys: got ", request.keys_size(), ", expected 1 to ", kMaxReadKeys));
  }
  // A second more: the caller's clock may have been read a moment ago.
  if (context.deadline() - std::chrono::system_clock::now() >
      kMaxReadTime + std::chrono::seconds(1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("read: the call needs a deadline, at most ", kMaxReadTime.count(), " s away"));
  }
  ReadQuery query{.rank = request.rank()};
  for (const v1::Key& key : request.keys()) {
    SKV_ASSIGN_OR_RETURN(query.keys.emplace_back(), FromProto(key));
  }
  return query;
}

// `act(StoreAdmin&)` on the store's thread; its status is the call's. Request and response live
// until the call is finished.
template <typename Act>
grpc::ServerUnaryReactor* Ask(CommandQueue* commands, grpc::CallbackServerContext* context,
                              Act act) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto command = [reactor, act](const absl::StatusOr<StoreAdmin*>& admin) {
    reactor->Finish(ToGrpcStatus(admin.ok() ? act(**admin) : admin.status()));
  };
  const absl::Status submitted = commands->Submit(DeadlineOf(*context), command);
  if (!submitted.ok()) reactor->Finish(ToGrpcStatus(submitted));
  return reactor;
}

}  // namespace

KvStoreService::KvStoreService(const KvStoreServiceOptions& options, EventFeed* feed,
                               CommandQueue* commands, CommandStoreOwner* owner)
    : options_(options),
      feed_(feed),
      commands_(commands),
      watches_(options.epoch, options.max_watch_streams, feed, commands, options.clock),
      reads_(options.max_read_streams, owner) {}

grpc::ServerWriteReactor<v1::WatchResponse>* KvStoreService::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest* request) {
  const absl::StatusOr<WatchPosition> position = FromProto(*request);
  if (!position.ok()) return new RefusedWatch(position.status());
  const absl::StatusOr<WatchStream*> stream = watches_.Open(context, *position);
  if (!stream.ok()) return new RefusedWatch(stream.status());
  return *stream;
}

grpc::ServerUnaryReactor* KvStoreService::GetStats(grpc::CallbackServerContext* context,
                                                   const v1::GetStatsRequest*,
                                                   v1::Stats* response) {
  return Ask(commands_, context, [this, response](const StoreAdmin& admin) {
    *response = ToProto(admin.GetStats());
    AddLimits(response);
    return absl::OkStatus();
  });
}

void KvStoreService::AddLimits(v1::Stats* stats) const {
  stats->set_epoch(std::string(options_.epoch.begin(), options_.epoch.end()));
  stats->set_max_entries(options_.index.max_entries);
  stats->set_max_blocks(options_.index.max_shards);
  stats->set_max_pins(options_.index.max_pins);
  stats->set_num_watch_streams(watches_.gauges().num_streams);
  stats->set_max_watch_streams(options_.max_watch_streams);
  stats->set_num_watch_events(feed_->num_kept());
  stats->set_max_watch_events(feed_->capacity());
  stats->set_watch_stride(options_.index.watch_stride);
  stats->set_num_sessions(stats->num_sessions() - 1);  // without that of who moves blocks
  if (options_.tiering == nullptr) return;
  for (const TierStatus& tier : options_.tiering->tiers()) *stats->add_tiers() = ToProto(tier);
  const ScrubberGauges scrubber = options_.tiering->scrubber();
  stats->set_num_scrubbed_bytes(scrubber.num_checked_bytes);
  stats->set_num_damaged_entries(scrubber.num_damaged_entries);
}

grpc::ServerUnaryReactor* KvStoreService::ListEntries(grpc::CallbackServerContext* context,
                                                      const v1::ListEntriesRequest* request,
                                                      v1::ListEntriesResponse* response) {
  const auto begin = static_cast<EntryIdx>(std::min<uint64_t>(request->page_token(), UINT32_MAX));
  const uint32_t size = request->page_size() == 0 ? StoreAdmin::kMaxListed : request->page_size();
  return Ask(commands_, context, [begin, size, response](const StoreAdmin& admin) {
    const EntryPage page = admin.ListEntries(begin, size);
    for (const EntryInfo& entry : page.entries) {
      *response->add_entries() = ToProto(entry, admin.NameOf(entry.tenant), admin.Now());
    }
    response->set_next_page_token(page.next.value_or(0));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* KvStoreService::Pin(grpc::CallbackServerContext* context,
                                              const v1::PinRequest* request, v1::PinResponse*) {
  const absl::StatusOr<EntryKey> key = FromProto(request->key());
  if (!key.ok()) return Finish(context, key.status());
  const uint32_t seconds = request->seconds();
  if (seconds < 1 || seconds > kMaxPinSeconds) {
    return Finish(context, absl::InvalidArgumentError(absl::StrCat(
                               "seconds: got ", seconds, ", expected 1 to ", kMaxPinSeconds)));
  }
  return Ask(commands_, context, [key = *key, seconds](StoreAdmin& admin) {
    return admin.Pin(key, std::chrono::seconds(seconds));
  });
}

grpc::ServerUnaryReactor* KvStoreService::Unpin(grpc::CallbackServerContext* context,
                                                const v1::UnpinRequest* request,
                                                v1::UnpinResponse*) {
  const absl::StatusOr<EntryKey> key = FromProto(request->key());
  if (!key.ok()) return Finish(context, key.status());
  return Ask(commands_, context, [key = *key](StoreAdmin& admin) { return admin.Unpin(key); });
}

grpc::ServerUnaryReactor* KvStoreService::Purge(grpc::CallbackServerContext* context,
                                                const v1::PurgeRequest* request,
                                                v1::PurgeResponse* response) {
  return StartPurge(commands_, context, *request, response);
}

grpc::ServerUnaryReactor* KvStoreService::Verify(grpc::CallbackServerContext* context,
                                                 const v1::VerifyRequest* request,
                                                 v1::VerifyResponse* response) {
  if (options_.tiering == nullptr) {
    return Finish(context, absl::UnimplementedError("verify: this store checks no blocks"));
  }
  if (request->id() == 0) {
    const absl::StatusOr<uint64_t> id = options_.tiering->Verify();
    if (!id.ok()) return Finish(context, id.status());
    response->set_id(*id);
    response->set_is_running(true);
    return Finish(context, absl::OkStatus());
  }
  const Verification last = options_.tiering->verification();
  if (last.id != request->id()) {
    return Finish(context, absl::NotFoundError(absl::StrCat(
                               "verify: got id ", request->id(), ", expected ", last.id,
                               ", that of the last verification (0: there was none); begin anew")));
  }
  *response = ToProto(last);
  return Finish(context, absl::OkStatus());
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* KvStoreService::Read(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  absl::StatusOr<ReadQuery> query = ParseReadQuery(*context, *request);
  if (!query.ok()) return new RefusedRead(query.status());
  const absl::StatusOr<ReadStream*> stream =
      reads_.Open(context, *std::move(query), DeadlineOf(*context));
  if (!stream.ok()) return new RefusedRead(stream.status());
  return *stream;
}

}  // namespace skv::kvstore
