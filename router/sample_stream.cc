#include "router/sample_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::router {

SampleStream::SampleStream(const ServedModel* model, std::shared_ptr<const text::StopSet> stops,
                           std::shared_ptr<const text::TokenText> prompt)
    : model_(model),
      stops_(std::move(stops)),
      prompt_(std::move(prompt)),
      detokenizer_(&model->tokenizer(), {}),
      matcher_(stops_) {}

absl::Status SampleStream::Apply(const GroupEvent& event, Event* out) {
  for (const GeneratedToken& token : event.tokens) {
    if (finished_) return absl::OkStatus();
    SKV_RETURN_IF_ERROR(CheckToken(token.id));
    if (std::exchange(draws_again_, false)) continue;  // the client has it
    token_ids_.push_back(token.id);
    out->tokens.push_back(ToEventToken(token));
    stopped_here_ = Show(detokenizer_.Push(token.id), out);
  }
  if (finished_) return absl::OkStatus();
  if (event.finish.has_value()) End(event, out);
  for (const Explanation& explanation : event.explanations) {
    SKV_RETURN_IF_ERROR(Explain(explanation, out));
  }
  return absl::OkStatus();
}

std::vector<TokenId> SampleStream::Resume() {
  if (token_ids_.empty()) return {};
  draws_again_ = true;
  return {token_ids_.begin(), token_ids_.end() - 1};
}

absl::Status SampleStream::CheckToken(TokenId id) const {
  if (!model_->tokenizer().IsValid(id)) {
    return absl::InternalError(absl::StrCat("worker sent token id ", id, ", expected 0 to ",
                                            model_->limits().vocab_size - 1));
  }
  if (draws_again_ && id != token_ids_.back()) {
    return absl::InternalError(absl::StrCat(
        "worker went on with token id ", id, " where the worker before had drawn ",
        token_ids_.back(), ": their numerics_id is the same but their arithmetic is not"));
  }
  return absl::OkStatus();
}

bool SampleStream::Show(const std::string& text, Event* out) {
  text::StopMatcher::Result shown = matcher_.Push(text);
  out->text += shown.text;
  if (!shown.matched_stop.has_value()) return false;
  finished_ = true;
  out->finish =
      Finish{.reason = FinishReason::kStop, .stop_string = stops_->stop(*shown.matched_stop)};
  return true;
}

void SampleStream::End(const GroupEvent& event, Event* out) {
  // Even the last character, completed as U+FFFD, may complete a stop string.
  if (Show(detokenizer_.Flush(), out)) return;
  out->text += matcher_.Flush();
  finished_ = true;
  out->finish = Finish{.reason = event.finish->reason, .message = event.finish->message};
  out->kv_report = event.kv_report;
  // By the worker's contract the last token is the one that stopped it; the finish may come in an
  // event of its own.
  if (event.finish->reason == FinishReason::kStop && !token_ids_.empty()) {
    out->finish->stop_token_id = token_ids_.back();
  }
}

absl::Status SampleStream::Explain(const Explanation& explanation, Event* out) {
  const auto is_range = [](int32_t begin, int32_t end, int64_t size) {
    return begin >= 0 && begin < end && end <= size;
  };
  const int64_t num_prompt_tokens = prompt_ == nullptr ? 0 : prompt_->num_tokens();
  bool fits = is_range(explanation.token_begin, explanation.token_end, num_tokens());
  for (const SentenceRead& read : explanation.reads) {
    fits = fits && is_range(read.token_begin, read.token_end, num_prompt_tokens);
  }
  if (!fits) {
    return absl::InternalError(
        absl::StrCat("worker explained tokens ", explanation.token_begin, " to ",
                     explanation.token_end, " of a sample, expected some of its ", num_tokens(),
                     " tokens with reads of the prompt's ", num_prompt_tokens));
  }
  // A group that replays tokens explains them anew.
  if (explanation.token_begin < explained_until_) return absl::OkStatus();
  explained_until_ = explanation.token_end;
  EventExplanation& result = out->explanations.emplace_back();
  result.token_begin = explanation.token_begin;
  result.token_end = explanation.token_end;
  for (const SentenceRead& read : explanation.reads) {
    result.reads.push_back({.read = read,
                            .bytes = prompt_->BytesOf(read.token_begin, read.token_end),
                            .text = prompt_->TextOf(read.token_begin, read.token_end)});
  }
  return absl::OkStatus();
}

EventToken SampleStream::ToEventToken(const GeneratedToken& token) const {
  EventToken result{.id = token.id, .piece = Piece(token.id), .logprob = token.logprob};
  result.top_logprobs.reserve(token.top_logprobs.size());
  for (const TopLogprob& top : token.top_logprobs) {
    result.top_logprobs.push_back({top.id, Piece(top.id), top.logprob});
  }
  return result;
}

std::string SampleStream::Piece(TokenId id) const {
  const text::Tokenizer& tokenizer = model_->tokenizer();
  if (!tokenizer.IsValid(id) || tokenizer.IsControl(id)) return "";
  return std::string(tokenizer.TokenBytes(id));
}

}  // namespace skv::router
