#pragma once
// A model as the router needs it: limits, tokenizer and chat format, all from a worker's answer, so
// that a router has no model files.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/block_key.h"
#include "router/admission/group_request.h"
#include "router/admission/request.h"
#include "router/admission/validate.h"
#include "text/chat_template.h"
#include "text/sentence_segmenter.h"
#include "text/token_text.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"

namespace skv::router {

// What the keys of prompts are made of beside tokens and salt; skv.worker.v1.PrefixNaming documents
// the fields.
struct PrefixNaming {
  std::string model_name;
  std::string model_revision;
  std::string segmenter_id;
  std::vector<std::string> kv_policies;
  std::vector<int32_t> computed_tokens;  // for each of kv_policies; one that is missing is 1

  bool operator==(const PrefixNaming&) const = default;
};

// What a group serves; constant while its process lives.
struct ModelInfo {
  std::string name;
  std::string fingerprint;  // equal for equal weights, tokenizer and chat template
  int64_t context_length = 0;
  int64_t vocab_size = 0;
  text::TokenizerSpec tokenizer;
  std::string numerics_id;
  KvPolicyOffer kv_policies;
  std::optional<PrefixNaming> prefix_naming;  // none: its prompts reuse nothing
};

// Immutable and thread-safe; shared by all groups that serve the same name and fingerprint with the
// same KV policies and name prefixes alike.
class ServedModel {
 public:
  // InvalidArgument: impossible sizes or KV policies, or a tokenizer that does not fit them; the
  // peer is not trusted. Unimplemented: a tokenizer of unknown kind.
  static absl::StatusOr<std::shared_ptr<const ServedModel>> Create(ModelInfo info);

  const std::string& name() const { return name_; }
  const std::string& fingerprint() const { return fingerprint_; }
  const ModelLimits& limits() const { return limits_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::optional<PrefixNaming>& prefix_naming() const { return prefix_naming_; }

  // Ids of a prompt. REQUIRES: ValidateRequest was OK. `parse_special` is for a TextPrompt only: a
  // special token written in it is read as such.
  // Unimplemented: a chat for a model without a known chat format. FailedPrecondition: the
  // vocabulary lacks a marker of that format. InvalidArgument: a system message that is not the
  // first, or a text longer than any tokenizer takes.
  absl::StatusOr<std::vector<TokenId>> Encode(const Prompt& prompt,
                                              bool parse_special = false) const;

  // The sentences of the request's prompt with the keys that workers know them by, the unfinished
  // one left out. Empty: it reuses nothing, or its sentences are cut by rules unknown here.
  PrefixChain PrefixOf(const GroupRequest& request) const;

  // The text of a prompt whose ids Encode gave; skv.v1.SentenceRead says which text that is.
  std::shared_ptr<const text::TokenText> TextOf(const Prompt& prompt,
                                                const std::vector<TokenId>& ids) const;

 private:
  ServedModel(ModelInfo info, std::unique_ptr<text::Tokenizer> tokenizer,
              std::shared_ptr<const text::SentenceSegmenter> segmenter);

  const std::string name_;
  const std::string fingerprint_;
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const absl::StatusOr<text::ChatTemplate> chat_template_;
  const ModelLimits limits_;
  const std::optional<PrefixNaming> prefix_naming_;
  const std::shared_ptr<const text::SentenceSegmenter> segmenter_;  // null: PrefixOf is empty
};

}  // namespace skv::router
