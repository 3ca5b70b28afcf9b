#include "router/attempt.h"

#include <algorithm>
#include <utility>

namespace skv::router {

Attempt::Attempt(Part part, const GroupRequest& request, const ClusterGroup& entry,
                 const PickResult& picked, PrefixIndex* prefixes, const PrefixChain* prompt)
    : part_(std::move(part)),
      group_(entry.group),
      request_id_(request.request_id),
      cache_id_(entry.cache_id),
      numerics_id_(entry.numerics_id),
      num_first_tokens_(static_cast<int64_t>(request.prompt_ids.size()) - picked.cached_tokens +
                        static_cast<int64_t>(request.resume_ids.size())),
      expected_cached_tokens_(picked.cached_tokens),
      prefixes_(prefixes),
      prompt_(prompt),
      charged_tokens_(request.NumTokens() - picked.cached_tokens) {
  group_->outstanding()->fetch_add(charged_tokens_);
  if (prefixes_ != nullptr) prefixes_->PromisePrompt(cache_id_, *prompt_);
}

void Attempt::OnTokens(int64_t num_tokens) {
  if (num_tokens == 0) return;
  if (!std::exchange(answered_, true)) {
    Uncharge(num_first_tokens_);
    if (prefixes_ != nullptr) prefixes_->AddPrompt(cache_id_, *prompt_);
  }
  Uncharge(num_tokens);
}

void Attempt::SetStream(std::shared_ptr<GroupStream> stream, uint64_t watch_id) {
  stream_ = std::move(stream);
  watch_id_ = watch_id;
}

std::shared_ptr<GroupStream> Attempt::Release() {
  released_ = true;
  Uncharge(charged_tokens_);
  if (!answered_ && prefixes_ != nullptr) {
    prefixes_->WithdrawPrompt(cache_id_, *prompt_, expected_cached_tokens_);
  }
  if (watch_id_.has_value()) group_->Unwatch(*watch_id_);
  return std::move(stream_);
}

void Attempt::Uncharge(int64_t num_tokens) {
  num_tokens = std::min(num_tokens, charged_tokens_);
  charged_tokens_ -= num_tokens;
  group_->outstanding()->fetch_sub(num_tokens);
}

}  // namespace skv::router
