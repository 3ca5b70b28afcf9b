#pragma once
// Where `skv generate` gets its text from: a cluster behind an endpoint, or an engine in this
// process.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/policy/kv_means.h"
#include "worker/policy/policy_params.h"
#include "worker/policy/recall_contract.h"

namespace skv::cli {

// What is not set is the cluster's to say; in this process it is `full`.
struct KvPolicyOptions {
  std::string name;
  std::optional<int64_t> max_capacity_prompts;
  std::optional<double> semantic_factor;
};

struct GenerateOptions {
  std::string prompt;
  bool chat = true;    // the prompt is a user's message; false: text to be continued as it stands
  std::string system;  // system message; empty: the model's own
  int max_tokens = 256;
  double temperature = 0.0;
  double top_p = 1.0;
  std::optional<uint64_t> seed;
  KvPolicyOptions kv_policy;
  std::optional<double> min_recall;
  int explain_top = 0;     // prompt sentences to name for each generated one; 0: explain nothing
  std::string cache_salt;  // empty: none
};

inline constexpr int kDefaultExplainTop = 5;

// What attention read of the KV cache; skv.v1.KvReport documents the fields.
struct KvSummary {
  policy::PolicyParams policy;
  std::string fingerprint;
  int64_t generated_positions = 0;
  policy::KvMeans means;
  policy::RecallCounts recall;  // with policy.min_recall
};

// One sentence of the prompt, as a generated one read it; skv.v1.SentenceRead documents the fields.
struct PromptSentence {
  int token_begin = 0;
  int token_end = 0;
  int64_t text_begin = 0;
  int64_t text_end = 0;
  std::string text;
  double score = 0;
  double heads_share = 0;
};

struct ExplainedSentence {
  int token_begin = 0;  // of the generated tokens
  int token_end = 0;
  std::string text;
  std::vector<PromptSentence> reads;  // largest score first
};

struct GenerateSummary {
  std::string finish_reason;  // "stop", "length", ...
  int prompt_tokens = 0;
  int cached_tokens = 0;
  int completion_tokens = 0;
  double ttft_ms = 0;
  double decode_ms = 0;         // first to last token
  int num_migrations = 0;       // skv.v1.Timings documents it
  std::optional<KvSummary> kv;  // null when the source does not tell
  std::vector<ExplainedSentence> explanations;
};

class TextSource {
 public:
  virtual ~TextSource() = default;
  // Calls `on_text` with each new piece of the answer, in order, from this thread.
  virtual absl::StatusOr<GenerateSummary> Generate(
      const GenerateOptions& options, const std::function<void(std::string_view)>& on_text) = 0;
};

struct LocalOptions {
  std::string model_path;
  std::string backend = "cpu";
  int num_threads = 0;
  std::string kv_placement = "in-place";
};

struct RemoteOptions {
  std::string endpoint;  // host:port
  int timeout_secs = 600;
};

// Loads the model into this process. Errors are the loader's.
absl::StatusOr<std::unique_ptr<TextSource>> OpenLocalSource(const LocalOptions& options);
// A router's Generation API. Unavailable when nobody answers within 5 seconds. Generate returns
// DeadlineExceeded at the time-out, Internal with the worker's reason when it failed there.
absl::StatusOr<std::unique_ptr<TextSource>> OpenRemoteSource(const RemoteOptions& options);

}  // namespace skv::cli
