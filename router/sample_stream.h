#pragma once
// One sample's tokens turned into text, with its stop strings.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

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
  // dropped. Internal: a token outside the vocabulary, an explanation of what is not there.
  absl::Status Apply(const GroupEvent& event, Event* out);

  bool finished() const { return finished_; }
  // True when a stop string ended the sample: the group does not know yet.
  bool stopped_here() const { return stopped_here_; }
  int64_t num_tokens() const { return num_tokens_; }

 private:
  EventToken ToEventToken(const GeneratedToken& token) const;
  std::string Piece(TokenId id) const;
  // Shows `text`, up to a stop string; true when there was one.
  bool Show(const std::string& text, Event* out);
  void End(const GroupEvent& event, Event* out);
  absl::Status Explain(const Explanation& explanation, Event* out) const;

  const ServedModel* model_;
  std::shared_ptr<const text::StopSet> stops_;
  std::shared_ptr<const text::TokenText> prompt_;
  text::IncrementalDetokenizer detokenizer_;
  text::StopMatcher matcher_;
  int64_t num_tokens_ = 0;
  std::optional<TokenId> last_token_;
  bool finished_ = false;
  bool stopped_here_ = false;
};

}  // namespace skv::router
