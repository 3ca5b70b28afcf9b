#include "bench/engine/bench_session.h"

#include <algorithm>
#include <istream>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "bench/engine/held_streams.h"
#include "common/status.h"

namespace skv::bench {
namespace {

// One stream alone; the instants of its start and of its tokens.
struct Timeline {
  TimePoint start;
  std::vector<TimedToken> tokens;
};

absl::StatusOr<std::vector<Timeline>> RunStreams(BenchTarget* target,
                                                 const std::vector<std::vector<TokenId>>& prompts,
                                                 int max_tokens) {
  std::vector<std::shared_ptr<TokenLog>> streams;
  const TimePoint start = RealClock().Now();
  for (const std::vector<TokenId>& prompt : prompts) {
    streams.push_back(std::make_shared<TokenLog>());
    SKV_RETURN_IF_ERROR(target->Start(prompt, max_tokens, streams.back()));
  }
  std::vector<Timeline> timelines;
  for (const auto& stream : streams) {
    SKV_RETURN_IF_ERROR(stream->WaitForFinish());
    timelines.push_back({start, stream->tokens()});
    if (static_cast<int>(timelines.back().tokens.size()) != max_tokens) {
      return absl::InternalError(absl::StrCat(
          "a stream ended with ", timelines.back().tokens.size(), " of ", max_tokens, " tokens"));
    }
  }
  return timelines;
}

absl::StatusOr<nlohmann::json> Decode(BenchTarget* target, const nlohmann::json& request) {
  const auto tokens = request.at("tokens").get<std::vector<TokenId>>();
  const int n = request.at("n").get<int>();
  SKV_ASSIGN_OR_RETURN(const auto timelines, RunStreams(target, {tokens}, n + 1));
  const Timeline& timeline = timelines[0];
  const TimePoint first = timeline.tokens.front().time;
  return nlohmann::json{{"seconds", ToSeconds(timeline.tokens.back().time - first)},
                        {"tokens", n},
                        {"prefill_seconds", ToSeconds(first - timeline.start)},
                        {"prefill_tokens", tokens.size()}};
}

absl::StatusOr<nlohmann::json> Streams(BenchTarget* target, const nlohmann::json& request) {
  const auto prompts = request.at("prompts").get<std::vector<std::vector<TokenId>>>();
  const int n = request.at("n").get<int>();
  SKV_ASSIGN_OR_RETURN(const auto timelines, RunStreams(target, prompts, n));
  TimePoint all_decode = timelines[0].start;
  TimePoint first_end = timelines[0].tokens.back().time;
  TimePoint end = timelines[0].start;
  for (const Timeline& timeline : timelines) {
    all_decode = std::max(all_decode, timeline.tokens.front().time);
    first_end = std::min(first_end, timeline.tokens.back().time);
    end = std::max(end, timeline.tokens.back().time);
  }
  int64_t decode_tokens = 0;
  for (const Timeline& timeline : timelines) {
    for (const TimedToken& token : timeline.tokens) {
      decode_tokens += token.time > all_decode && token.time <= first_end;
    }
  }
  return nlohmann::json{{"seconds", ToSeconds(end - timelines[0].start)},
                        {"tokens", n * prompts.size()},
                        {"decode_seconds", ToSeconds(first_end - all_decode)},
                        {"decode_tokens", decode_tokens}};
}

absl::StatusOr<nlohmann::json> Greedy(BenchTarget* target, const nlohmann::json& request) {
  const auto tokens = request.at("tokens").get<std::vector<TokenId>>();
  SKV_ASSIGN_OR_RETURN(const auto timelines,
                       RunStreams(target, {tokens}, request.at("n").get<int>()));
  nlohmann::json ids = nlohmann::json::array(), margins = nlohmann::json::array();
  for (const TimedToken& token : timelines[0].tokens) {
    ids.push_back(token.id);
    margins.push_back(token.margin);
  }
  return nlohmann::json{{"tokens", ids}, {"margins", margins}};
}

absl::StatusOr<nlohmann::json> Answer(BenchTarget* target, HeldStreams* held,
                                      const std::string& line) {
  const nlohmann::json request = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  try {
    const std::string command = request.at("cmd").get<std::string>();
    if (command == "info") return target->Info();
    if (command == "decode") return Decode(target, request);
    if (command == "streams") return Streams(target, request);
    if (command == "greedy") return Greedy(target, request);
    if (command == "fill") {
      return held->Fill(target, request.at("prompts").get<std::vector<std::vector<TokenId>>>(),
                        request.at("max_tokens").get<int>());
    }
    if (command == "continue") return held->Continue(request.at("n").get<int>());
    if (command == "end") return held->End();
    if (command == "memory") {
      return target->Memory(request.at("tokens").get<std::vector<TokenId>>(),
                            request.at("n").get<int>());
    }
    return absl::InvalidArgumentError(
        absl::StrCat("cmd: \"", command,
                     "\", expected info, decode, streams, greedy, fill, continue, end or memory"));
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("request: ", error.what()));
  }
}

}  // namespace

absl::StatusOr<nlohmann::json> BenchTarget::Memory(const std::vector<TokenId>&, int) {
  return absl::UnimplementedError("memory: only an engine in this process tells");
}

void ServeBenchProtocol(BenchTarget* target, std::istream& in, std::ostream& out) {
  std::string line;
  HeldStreams held;
  while (std::getline(in, line)) {
    const absl::StatusOr<nlohmann::json> answer = Answer(target, &held, line);
    nlohmann::json reply = answer.ok() ? *answer : nlohmann::json::object();
    reply["ok"] = answer.ok();
    if (!answer.ok()) reply["error"] = std::string(answer.status().message());
    out << reply.dump() << std::endl;
  }
}

}  // namespace skv::bench
