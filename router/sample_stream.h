#pragma once
// One sample's tokens turned into text, with its stop strings.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "router/admission/served_model.h"
#include "router/event.h"
#include "router/membership/group_client.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"
#include "text/token_text.h"

namespace skv::router {

// Not thread-safe.
class SampleStream {
 public:
  // `model` outlives this object. `prompt` may be null where nothing is to be explained.
  SampleStream(const ServedModel* model, std::shared_ptr<const text::StopSet> stops,
               std::shared_ptr<const text::TokenText> prompt = nullptr);

  // Fills text, tokens, finish, kv_report and explanations of `out`. What comes after the end is
  // dropped, and an explanation that came before. Internal: a token outside the vocabulary, one
  // that is drawn again and differs, an explanation of what is not there.
  absl::Status Apply(const GroupEvent& event, Event* out);

  // The next events come from another group. Returns the tokens that it is to take as generated:
  // all but the last, which it draws again. With that token comes the finish that may have been
  // lost with the first group, and a group whose arithmetic differs is found out.
  std::vector<TokenId> Resume();

  bool finished() const { return finished_; }
  // True when a stop string ended the sample: the group does not know yet.
  bool stopped_here() const { return stopped_here_; }
  int64_t num_tokens() const { return static_cast<int64_t>(token_ids_.size()); }

 private:
  absl::Status CheckToken(TokenId id) const;
  EventToken ToEventToken(const GeneratedToken& token) const;
  std::string Piece(TokenId id) const;
  // Shows `text`, up to a stop string; true when there was one.
  bool Show(const std::string& text, Event* out);
  void End(const GroupEvent& event, Event* out);
  absl::Status Explain(const Explanation& explanation, Event* out);

  const ServedModel* model_;
  std::shared_ptr<const text::StopSet> stops_;
  std::shared_ptr<const text::TokenText> prompt_;
  text::IncrementalDetokenizer detokenizer_;
  text::StopMatcher matcher_;
  std::vector<TokenId> token_ids_;
  bool draws_again_ = false;  // the next token is the last one of token_ids_
  int32_t explained_until_ = 0;
  bool finished_ = false;
  bool stopped_here_ = false;
};

}  // namespace skv::router
