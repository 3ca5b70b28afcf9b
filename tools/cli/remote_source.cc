#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "common/status.h"
#include "skv/v1/generation.grpc.pb.h"
#include "text/utf8.h"
#include "tools/cli/router_channel.h"
#include "tools/cli/text_source.h"

namespace skv::cli {
namespace {

std::string ReasonName(v1::FinishReason reason) {
  std::string name = v1::FinishReason_Name(reason);
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  return name;
}

KvSummary FromProto(const v1::KvReport& report) {
  return {.policy = {.name = report.policy().name(),
                     .budget_tokens = static_cast<int>(report.policy().max_capacity_prompts()),
                     .semantic_factor = report.policy().semantic_factor(),
                     .min_recall = report.recall().min_recall()},
          .fingerprint = report.fingerprint(),
          .generated_positions = report.generated_positions(),
          .means = {report.attended_tokens(), report.choosing_tokens(), report.visible_tokens(),
                    report.read_share()},
          .recall = {report.recall().checked(), report.recall().widened(), report.recall().full()}};
}

ExplainedSentence FromProto(const v1::Explanation& explanation) {
  ExplainedSentence result{.token_begin = static_cast<int>(explanation.token_begin()),
                           .token_end = static_cast<int>(explanation.token_end()),
                           .text = {},
                           .reads = {}};
  for (const v1::SentenceRead& read : explanation.reads()) {
    result.reads.push_back({.token_begin = static_cast<int>(read.token_begin()),
                            .token_end = static_cast<int>(read.token_end()),
                            .text_begin = read.text_begin(),
                            .text_end = read.text_end(),
                            .text = read.text(),
                            .score = read.score(),
                            .heads_share = read.heads_share()});
  }
  return result;
}

// The text of pieces [begin, end), as far as there are some.
std::string JoinPieces(const std::vector<std::string>& pieces, int begin, int end) {
  std::string text;
  text::LossyUtf8Decoder decoder;
  for (int i = std::max(begin, 0); i < end && i < static_cast<int>(pieces.size()); ++i) {
    decoder.Push(pieces[i], &text);
  }
  decoder.Flush(&text);
  return text;
}

class RemoteSource : public TextSource {
 public:
  RemoteSource(std::shared_ptr<grpc::Channel> channel, std::chrono::seconds timeout)
      : stub_(v1::Generation::NewStub(std::move(channel))), timeout_(timeout) {}

  absl::StatusOr<GenerateSummary> Generate(
      const GenerateOptions& options,
      const std::function<void(std::string_view)>& on_text) override {
    const v1::GenerateRequest request = ToProto(options);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout_);
    const auto reader = stub_->Generate(&context, request);
    GenerateSummary summary;
    v1::Finish finish;
    v1::GenerateEvent event;
    std::vector<std::string> pieces;
    while (reader->Read(&event)) {
      on_text(event.text());
      for (const v1::Token& token : event.tokens()) pieces.push_back(token.piece());
      for (const v1::Explanation& explanation : event.explanations()) {
        summary.explanations.push_back(FromProto(explanation));
      }
      if (event.has_finish()) finish = event.finish();
      if (event.has_usage()) {
        summary.prompt_tokens = static_cast<int>(event.usage().prompt_tokens());
        summary.cached_tokens = static_cast<int>(event.usage().cached_tokens());
        summary.completion_tokens = static_cast<int>(event.usage().completion_tokens());
      }
      if (event.has_kv_report()) summary.kv = FromProto(event.kv_report());
      if (event.has_timings()) {
        summary.ttft_ms = event.timings().ttft_ms();
        summary.decode_ms = event.timings().decode_ms();
        summary.num_migrations = event.timings().num_migrations();
      }
    }
    SKV_RETURN_IF_ERROR(ToAbslStatus(reader->Finish()));
    if (finish.reason() == v1::ERROR) return absl::InternalError(finish.message());
    summary.finish_reason = ReasonName(finish.reason());
    for (ExplainedSentence& sentence : summary.explanations) {
      sentence.text = JoinPieces(pieces, sentence.token_begin, sentence.token_end);
    }
    return summary;
  }

 private:
  static v1::GenerateRequest ToProto(const GenerateOptions& options) {
    v1::GenerateRequest request;
    if (options.chat) {
      const auto add = [&](const char* role, const std::string& content) {
        v1::ChatMessage* const message = request.mutable_chat()->add_messages();
        message->set_role(role);
        message->set_content(content);
      };
      if (!options.system.empty()) add("system", options.system);
      add("user", options.prompt);
    } else {
      request.set_text(options.prompt);
    }
    request.set_max_tokens(options.max_tokens);
    request.set_temperature(options.temperature);
    request.set_top_p(options.top_p);
    if (options.seed) request.set_seed(*options.seed);
    if (options.explain_top > 0) {
      request.set_explain(true);
      request.set_explain_top(options.explain_top);
    }
    if (options.min_recall) request.set_min_recall(*options.min_recall);
    if (!options.cache_salt.empty()) request.set_cache_salt(options.cache_salt);
    v1::KvPolicy* const policy = request.mutable_kv_policy();
    policy->set_name(options.kv_policy.name);
    if (options.kv_policy.max_capacity_prompts) {
      policy->set_max_capacity_prompts(*options.kv_policy.max_capacity_prompts);
    }
    if (options.kv_policy.semantic_factor) {
      policy->set_semantic_factor(*options.kv_policy.semantic_factor);
    }
    return request;
  }

  const std::unique_ptr<v1::Generation::Stub> stub_;
  const std::chrono::seconds timeout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TextSource>> OpenRemoteSource(const RemoteOptions& options) {
  SKV_ASSIGN_OR_RETURN(auto channel, ConnectToRouter(options.endpoint));
  return std::make_unique<RemoteSource>(std::move(channel),
                                        std::chrono::seconds(options.timeout_secs));
}

}  // namespace skv::cli
