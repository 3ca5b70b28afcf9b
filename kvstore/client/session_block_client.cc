#include "kvstore/client/session_block_client.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/client/block_memory.h"
#include "kvstore/client/store_session.h"

namespace skv::kvstore {
namespace {

static_assert(BlockClient::kMaxChainKeys == kMaxFrameItems);

// "create reply: has 3 items, expected 2".
absl::Status WrongCount(std::string_view frame, size_t got, size_t expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(Sv(frame), ": has ", got, " items, expected ", expected));
}

class SessionBlockClient : public BlockClient {
 public:
  explicit SessionBlockClient(std::shared_ptr<StoreSession> session)
      : session_(std::move(session)) {}

  absl::StatusOr<LeasedChain> Get(std::span<const PrefixKey> keys, TimePoint deadline) override;
  std::vector<absl::StatusOr<Creation>> Create(std::vector<NewSentence> sentences,
                                               TimePoint deadline) override;
  std::vector<absl::StatusOr<SealedBlock>> Seal(std::vector<WritableBlock> blocks, bool is_tip,
                                                TimePoint deadline) override;
  absl::Status Wait(std::span<const PrefixKey> keys, TimePoint deadline) override;
  Notices TakeNotices() override;
  absl::Status Flush(TimePoint deadline) override { return session_->SendReleases(deadline); }
  absl::Status status() const override { return session_->status(); }
  BlockClientGauges gauges() const override { return session_->gauges(); }

 private:
  // Indices of the caller's list that go into one request.
  using Part = std::span<const size_t>;
  using Creations = std::vector<absl::StatusOr<Creation>>;
  using SealedBlocks = std::vector<absl::StatusOr<SealedBlock>>;

  absl::StatusOr<LeasedChain> Lease(const GetReply& reply, std::span<const PrefixKey> keys,
                                    TimePoint deadline);
  void CreatePart(Part part, std::vector<NewSentence>* sentences, TimePoint deadline,
                  Creations* creations);
  absl::StatusOr<Creation> Take(const CreateReplyItem& item, NewSentence sentence);
  std::vector<size_t> WriteHeaders(std::vector<WritableBlock>* blocks, SealedBlocks* sealed) const;
  void SealPart(Part part, std::vector<WritableBlock>* blocks, bool is_tip, TimePoint deadline,
                SealedBlocks* sealed);
  absl::StatusOr<SealedBlock> Take(const SealReplyItem& item, WritableBlock block);

  const std::shared_ptr<StoreSession> session_;
};

absl::StatusOr<LeasedChain> SessionBlockClient::Get(std::span<const PrefixKey> keys,
                                                    TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckNumKeys(keys.size()));
  if (keys.empty()) return LeasedChain();
  SKV_ASSIGN_OR_RETURN(
      const GetReply reply,
      session_->Call<GetReply>(kvstore::Get{{keys.begin(), keys.end()}}, deadline));
  if (reply.code != absl::StatusCode::kOk) return session_->Refusal(reply.code, "get");
  if (reply.blocks.size() > keys.size()) {
    return session_->Lose(WrongCount("get reply", reply.blocks.size(), keys.size()));
  }
  if (reply.blocks.empty()) return LeasedChain();
  return Lease(reply, keys, deadline);
}

absl::StatusOr<LeasedChain> SessionBlockClient::Lease(const GetReply& reply,
                                                      std::span<const PrefixKey> keys,
                                                      TimePoint deadline) {
  absl::StatusOr<HeldLease> lease = session_->Hold(reply.lease);
  if (!lease.ok()) return session_->Lose(lease.status());
  absl::StatusOr<std::vector<LeasedBlock>> blocks =
      session_->memory().AddFound(lease->id(), reply.blocks, keys);
  if (!blocks.ok()) return session_->Lose(Annotate(blocks.status(), "get reply"));
  // A store that does not look keeps it until it is evicted; without one all of this is lost.
  if (blocks->size() < reply.blocks.size()) {
    session_->Call<ReportReply>(Report{{keys[blocks->size()]}}, deadline).IgnoreError();
  }
  if (blocks->empty()) return LeasedChain();
  return LeasedChain(*std::move(lease), *std::move(blocks));
}

std::vector<absl::StatusOr<Creation>> SessionBlockClient::Create(std::vector<NewSentence> sentences,
                                                                 TimePoint deadline) {
  Creations creations(sentences.size());
  std::vector<size_t> valid;
  for (size_t i = 0; i < sentences.size(); ++i) {
    if (absl::Status sizes = CheckSentence(sentences[i]); !sizes.ok()) {
      creations[i] = std::move(sizes);
    } else {
      valid.push_back(i);
    }
  }
  for (size_t begin = 0; begin < valid.size(); begin += kMaxCreateItems) {
    const Part rest = Part(valid).subspan(begin);
    CreatePart(rest.first(std::min(rest.size(), kMaxCreateItems)), &sentences, deadline,
               &creations);
  }
  return creations;
}

void SessionBlockClient::CreatePart(Part part, std::vector<NewSentence>* sentences,
                                    TimePoint deadline, Creations* creations) {
  kvstore::Create request;
  for (const size_t i : part) {
    const NewSentence& sentence = (*sentences)[i];
    request.items.push_back({.key = sentence.key,
                             .parent = sentence.is_first ? PrefixKey() : sentence.parent,
                             .has_parent = !sentence.is_first,
                             .num_tokens = static_cast<uint32_t>(sentence.tokens.size()),
                             .payload_bytes = sentence.payload_bytes});
  }
  const absl::StatusOr<CreateReply> reply =
      session_->Call<CreateReply>(std::move(request), deadline);
  absl::Status status = reply.status();
  if (status.ok() && reply->items.size() != part.size()) {
    status = session_->Lose(WrongCount("create reply", reply->items.size(), part.size()));
  }
  for (size_t i = 0; i < part.size(); ++i) {
    auto& creation = (*creations)[part[i]];
    if (status.ok()) creation = Take(reply->items[i], std::move((*sentences)[part[i]]));
    if (status.ok()) status = session_->status();
    if (!status.ok()) creation = status;
  }
}

absl::StatusOr<Creation> SessionBlockClient::Take(const CreateReplyItem& item,
                                                  NewSentence sentence) {
  Creation creation;
  switch (item.outcome) {
    case CreateOutcome::kFailed:
      return session_->Refusal(item.code, absl::StrCat("create ", ToHex(sentence.key)));
    case CreateOutcome::kInProgress:
      creation.outcome = Creation::Outcome::kInProgress;
      return creation;
    case CreateOutcome::kExists:
      creation.outcome = Creation::Outcome::kExists;
      return creation;
    case CreateOutcome::kCreated:
      break;
  }
  const auto place = session_->memory().PlaceFor(sentence, item.range);
  if (!place.ok()) return session_->Lose(Annotate(place.status(), "create reply"));
  absl::StatusOr<HeldLease> lease = session_->Hold(item.lease);
  if (!lease.ok()) return session_->Lose(Annotate(lease.status(), "create reply"));
  creation.outcome = Creation::Outcome::kCreated;
  creation.block = WritableBlock(*std::move(lease), std::move(sentence), *place);
  return creation;
}

std::vector<absl::StatusOr<SealedBlock>> SessionBlockClient::Seal(std::vector<WritableBlock> blocks,
                                                                  bool is_tip, TimePoint deadline) {
  SealedBlocks sealed(blocks.size());
  const std::vector<size_t> written = WriteHeaders(&blocks, &sealed);
  for (size_t begin = 0; begin < written.size(); begin += kMaxFrameItems) {
    const Part rest = Part(written).subspan(begin);
    const Part part = rest.first(std::min(rest.size(), kMaxFrameItems));
    SealPart(part, &blocks, is_tip && part.size() == rest.size(), deadline, &sealed);
  }
  return sealed;
}

// Those that the store is to seal; all others have their results.
std::vector<size_t> SessionBlockClient::WriteHeaders(std::vector<WritableBlock>* blocks,
                                                     SealedBlocks* sealed) const {
  std::vector<size_t> written;
  for (size_t i = 0; i < blocks->size(); ++i) {
    WritableBlock& block = (*blocks)[i];
    if (!session_->status().ok() || block.lease().owner() != session_.get()) {
      (*sealed)[i] = PrivateBlock(std::move(block));
    } else if (absl::Status header = session_->memory().WriteHeader(block); !header.ok()) {
      (*sealed)[i] = std::move(header);
    } else {
      written.push_back(i);
    }
  }
  return written;
}

void SessionBlockClient::SealPart(Part part, std::vector<WritableBlock>* blocks, bool is_tip,
                                  TimePoint deadline, SealedBlocks* sealed) {
  kvstore::Seal request;
  for (const size_t i : part) {
    request.items.push_back({.lease = static_cast<LeaseHandle>((*blocks)[i].lease().id())});
  }
  request.items.back().is_tip = is_tip;
  const absl::StatusOr<SealReply> reply = session_->Call<SealReply>(std::move(request), deadline);
  if (reply.ok() && reply->items.size() != part.size()) {
    session_->Lose(WrongCount("seal reply", reply->items.size(), part.size())).IgnoreError();
  }
  for (size_t i = 0; i < part.size(); ++i) {
    WritableBlock block = std::move((*blocks)[part[i]]);
    auto& result = (*sealed)[part[i]];
    // Without a reply it is ours as before: the session is lost, or nothing was asked.
    if (!reply.ok() || !session_->status().ok()) {
      result = PrivateBlock(std::move(block));
    } else {
      result = Take(reply->items[i], std::move(block));
    }
  }
}

absl::StatusOr<SealedBlock> SessionBlockClient::Take(const SealReplyItem& item,
                                                     WritableBlock block) {
  if (item.code != absl::StatusCode::kOk) {
    absl::Status refusal =
        session_->Refusal(item.code, absl::StrCat("seal ", ToHex(block.sentence().key)));
    // Its memory stays until the lease ends (BlockStore::Seal).
    if (item.code == absl::StatusCode::kAborted) return PrivateBlock(std::move(block));
    return refusal;
  }
  const LeasedBlock leased = session_->memory().AddWritten(block);
  return SealedBlock{
      LeasedChain(block.TakeLease(), {leased}),
      item.is_visible ? SealedBlock::Visibility::kVisible : SealedBlock::Visibility::kPending};
}

absl::Status SessionBlockClient::Wait(std::span<const PrefixKey> keys, TimePoint deadline) {
  SKV_RETURN_IF_ERROR(CheckNumKeys(keys.size()));
  if (keys.empty()) return absl::OkStatus();
  // Before the request: notices may overtake its reply.
  const std::vector<PrefixKey> added = session_->Await(keys);
  const absl::StatusOr<WaitReply> reply =
      session_->Call<WaitReply>(kvstore::Wait{{keys.begin(), keys.end()}}, deadline);
  absl::Status status = reply.status();
  if (status.ok() && reply->code != absl::StatusCode::kOk) {
    status = session_->Refusal(reply->code, "wait");
  }
  if (!status.ok()) session_->StopAwaiting(added);
  return status;
}

Notices SessionBlockClient::TakeNotices() {
  session_->ReceiveAll();
  return session_->TakeNotices();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockClient>> ConnectSessionBlockClient(
    const std::string& path, const SessionClientOptions& options, TimePoint deadline) {
  SKV_ASSIGN_OR_RETURN(SessionSocket socket, SessionSocket::Connect(path, deadline));
  return OpenSessionBlockClient(std::move(socket), options, deadline);
}

absl::StatusOr<std::unique_ptr<BlockClient>> OpenSessionBlockClient(
    SessionSocket socket, const SessionClientOptions& options, TimePoint deadline) {
  const Hello hello = {.client_name = options.client_name,
                       .tenant = options.tenant,
                       .layout = options.layout,
                       .pid = static_cast<uint32_t>(getpid()),
                       .world_size = static_cast<uint32_t>(options.world_size),
                       .rank = static_cast<uint32_t>(options.rank)};
  SKV_ASSIGN_OR_RETURN(std::shared_ptr<StoreSession> session,
                       StoreSession::Open(std::move(socket), hello, deadline));
  return std::make_unique<SessionBlockClient>(std::move(session));
}

}  // namespace skv::kvstore
