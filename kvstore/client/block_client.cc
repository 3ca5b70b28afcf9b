#include "kvstore/client/block_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "kvstore/block/block_header.h"

namespace skv::kvstore {

absl::Status CheckSentence(const NewSentence& sentence) {
  const size_t num_tokens = sentence.tokens.size();
  if (num_tokens < 1 || num_tokens > kMaxBlockTokens) {
    return absl::InvalidArgumentError(absl::StrCat("sentence ", ToHex(sentence.key), ": has ",
                                                   num_tokens, " tokens, expected 1 to ",
                                                   kMaxBlockTokens));
  }
  if (sentence.payload_bytes < 1 || sentence.payload_bytes > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("sentence ", ToHex(sentence.key),
                                                   ": payload_bytes is ", sentence.payload_bytes,
                                                   ", expected 1 to ", kMaxPayloadBytes));
  }
  return absl::OkStatus();
}

absl::Status CheckNumKeys(size_t num_keys) {
  if (num_keys <= BlockClient::kMaxChainKeys) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("block client: ", num_keys,
                                                 " keys, expected at most ",
                                                 BlockClient::kMaxChainKeys, " in one call"));
}

SealedBlock PrivateBlock(WritableBlock block) {
  const LeasedBlock leased = {block.payload(), block.num_tokens()};
  return {LeasedChain(block.TakeLease(), {leased}), SealedBlock::Visibility::kPrivate};
}

}  // namespace skv::kvstore
