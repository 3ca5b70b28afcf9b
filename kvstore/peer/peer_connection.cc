#include "kvstore/peer/peer_connection.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/peer/data_message.h"
#include "kvstore/watch/watch_conversions.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::kvstore {
namespace {

constexpr char kMethod[] = "/skv.kvstore.v1.KvStore/Read";
constexpr int kKeepaliveMs = 30'000;
constexpr int kReconnectMs = 500;
// Sent before the caller takes it: a few messages, so that the network does not pause meanwhile.
constexpr int kWindowBytes = 8 << 20;
// A message and its frame: fewer pieces to put together.
constexpr int kFrameBytes = (2 << 20) - 1;
constexpr int kMaxMessageBytes = 4 << 20;
// Of what is kept for the next call.
constexpr size_t kMaxKept = 2;
constexpr size_t kMaxKeptBytes = 64 << 20;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Stores are reached directly, whatever proxy the environment names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kWindowBytes);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameBytes);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

grpc::ByteBuffer ToBuffer(std::span<const EntryKey> keys, uint32_t rank) {
  v1::ReadRequest request;
  for (const EntryKey& key : keys) *request.add_keys() = ToProto(key);
  request.set_rank(rank);
  const grpc::Slice slice(request.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

absl::StatusOr<v1::ReadResponse> ParseSizes(const grpc::ByteBuffer& message, size_t num_keys) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  v1::ReadResponse sizes;
  const bool is_short = message.Length() <= 16 * (num_keys + 1) && message.Dump(&slices).ok();
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  if (!is_short || !sizes.ParseFromString(bytes) || !sizes.data().empty() ||
      static_cast<size_t>(sizes.block_bytes_size()) > num_keys) {
    return absl::DataLossError("peer: the first message does not say how long the blocks are");
  }
  uint64_t num_left = PeerConnection::kMaxBytes;
  for (const uint64_t num_bytes : sizes.block_bytes()) {
    if (num_bytes == 0 || num_bytes > num_left) {
      return absl::DataLossError(
          absl::StrCat("peer: a block of ", num_bytes, " bytes, expected 1 to ", num_left));
    }
    num_left -= num_bytes;
  }
  return sizes;
}

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    return absl::ResourceExhaustedError(status.error_message());
  }
  return absl::UnavailableError(
      absl::StrCat("code ", static_cast<int>(status.error_code()), ": ", status.error_message()));
}

// One call, step by step; each ends by the deadline. The destructor ends the call.
class ReadCall {
 public:
  ReadCall(grpc::GenericStub* stub, const grpc::ByteBuffer& request, TimePoint deadline) {
    const Duration left = deadline - RealClock().Now();
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
    call_ = stub->PrepareCall(&context_, kMethod, &queue_);
    call_->StartCall(this);
    if (!Await()) return;
    call_->WriteLast(request, grpc::WriteOptions(), this);
    Await();
  }
  ~ReadCall() {
    if (!is_finished_) {
      context_.TryCancel();
      Finish().IgnoreError();
    }
    queue_.Shutdown();
    while (Await()) {
    }
  }
  ReadCall(const ReadCall&) = delete;
  ReadCall& operator=(const ReadCall&) = delete;

  // False: there are no more.
  bool Read(grpc::ByteBuffer* message) {
    call_->Read(message, this);
    return Await();
  }
  absl::Status Finish() {
    grpc::Status status;
    is_finished_ = true;
    call_->Finish(&status, this);
    Await();
    return ToStatus(status);
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool is_finished_ = false;
};

// All data, as far as it comes; sets `num_received`.
absl::Status ReadData(ReadCall* call, std::span<std::byte> place, size_t* num_received) {
  grpc::ByteBuffer message;
  while (call->Read(&message)) {
    SKV_ASSIGN_OR_RETURN(const size_t num_bytes, CopyData(message, place.subspan(*num_received)));
    *num_received += num_bytes;
  }
  SKV_RETURN_IF_ERROR(call->Finish());
  if (*num_received == place.size()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("peer: got ", *num_received, " bytes of blocks, expected ", place.size()));
}

}  // namespace

PeerConnection::PeerConnection(const std::string& address)
    : address_(address), stub_(MakeChannel(address)) {}

std::shared_ptr<PeerConnection::Memory> PeerConnection::TakeMemory(size_t num_bytes) {
  for (const std::shared_ptr<Memory>& memory : kept_) {
    if (memory.use_count() == 1 && memory->num_bytes >= num_bytes) return memory;
  }
  std::erase_if(kept_, [](const std::shared_ptr<Memory>& m) { return m.use_count() == 1; });
  auto memory = std::make_shared<Memory>();
  memory->bytes = std::make_unique_for_overwrite<std::byte[]>(num_bytes);
  memory->num_bytes = num_bytes;
  if (num_bytes <= kMaxKeptBytes && kept_.size() < kMaxKept) kept_.push_back(memory);
  return memory;
}

absl::StatusOr<ReadBlocks> PeerConnection::Read(std::span<const EntryKey> keys, uint32_t rank,
                                                TimePoint deadline) {
  const auto fail = [this](const absl::Status& status) {
    const std::string text = absl::StrCat("peer ", address_, ": ", status.message());
    return absl::IsResourceExhausted(status) ? absl::ResourceExhaustedError(text)
                                             : absl::UnavailableError(text);
  };
  ReadCall call(&stub_, ToBuffer(keys, rank), deadline);
  grpc::ByteBuffer message;
  if (!call.Read(&message)) {
    const absl::Status status = call.Finish();
    return fail(status.ok() ? absl::DataLossError("it sent no message") : status);
  }
  const absl::StatusOr<v1::ReadResponse> sizes = ParseSizes(message, keys.size());
  if (!sizes.ok()) return fail(sizes.status());
  size_t num_bytes = 0, num_received = 0;
  for (const uint64_t size : sizes->block_bytes()) num_bytes += size;
  const std::shared_ptr<Memory> memory = TakeMemory(num_bytes);
  const std::span<std::byte> place(memory->bytes.get(), num_bytes);
  const absl::Status status = ReadData(&call, place, &num_received);
  ReadBlocks blocks{.owner = memory};
  for (size_t begin = 0; const uint64_t size : sizes->block_bytes()) {
    if (begin + size > num_received) break;
    blocks.blocks.push_back(place.subspan(begin, size));
    begin += size;
  }
  // It had taken the call.
  if (!status.ok() && blocks.blocks.empty()) return fail(absl::UnavailableError(status.message()));
  return blocks;
}

}  // namespace skv::kvstore
