#include "bench/kvstore/trace.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <random>
#include <utility>

#include "common/log.h"

namespace skv::bench {
namespace {

constexpr double kAskedSentences = 300000;

class Generator {
 public:
  Generator(std::string_view name, uint64_t seed, double scale)
      : random_(seed), asked_sentences_(kAskedSentences * scale) {
    trace_.name = name;
  }

  void Chat();
  void SharedDocuments();
  void Zipf(double exponent);
  void ScanZipf();
  void Loop();
  Trace Take() { return std::move(trace_); }

 private:
  int Uniform(int min, int max) { return std::uniform_int_distribution(min, max)(random_); }
  double Exponential(double mean) {
    return std::exponential_distribution<double>(1 / mean)(random_);
  }

  // `count` new sentences of 4 to 128 tokens, 21 on average, below `parent`; returns the last.
  uint32_t Append(uint32_t parent, int count) {
    std::lognormal_distribution<double> tokens(std::log(18.0), 0.6);
    for (int i = 0; i < count; ++i) {
      const auto num_tokens = static_cast<int64_t>(std::clamp(tokens(random_), 4.0, 128.0));
      const uint32_t depth = parent == kNoSentence ? 0 : trace_.sentences[parent].depth + 1;
      trace_.sentences.push_back({parent, depth, num_tokens * kTokenBytes});
      parent = static_cast<uint32_t>(trace_.sentences.size() - 1);
    }
    return parent;
  }
  std::vector<uint32_t> Prompts(int count, int min_sentences, int max_sentences) {
    std::vector<uint32_t> tips(count);
    for (uint32_t& tip : tips) tip = Append(kNoSentence, Uniform(min_sentences, max_sentences));
    return tips;
  }
  void Ask(uint32_t tip) {
    trace_.requests.push_back(tip);
    num_asked_ += trace_.sentences[tip].depth + 1;
  }
  bool Done() const { return num_asked_ >= asked_sentences_; }

  std::mt19937_64 random_;
  const double asked_sentences_;
  double num_asked_ = 0;
  Trace trace_;
};

std::discrete_distribution<int> ZipfDistribution(int count, double exponent) {
  std::vector<double> weights(count);
  for (int i = 0; i < count; ++i) weights[i] = std::pow(i + 1, -exponent);
  return {weights.begin(), weights.end()};
}

// Conversations begin every 10 s and ask again a minute after the answer, some of them much later.
void Generator::Chat() {
  const std::vector<uint32_t> systems = Prompts(8, 20, 60);
  std::discrete_distribution<int> popularity = ZipfDistribution(8, 1.0);
  using Turn = std::pair<double, uint32_t>;  // when, the conversation so far
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  double next_start = 0;
  while (!Done()) {
    if (turns.empty() || next_start < turns.top().first) {
      turns.emplace(next_start, systems[popularity(random_)]);
      next_start += Exponential(10);
      continue;
    }
    const auto [time, before] = turns.top();
    turns.pop();
    // The answer to the turn before is part of this one's prompt.
    const uint32_t prompt = Append(before, Uniform(4, 18));
    Ask(prompt);
    if (Uniform(1, 8) == 1) continue;
    turns.emplace(time + Exponential(Uniform(1, 5) == 1 ? 1800 : 60), prompt);
  }
}

void Generator::SharedDocuments() {
  const std::vector<uint32_t> documents = Prompts(400, 40, 300);
  std::discrete_distribution<int> popularity = ZipfDistribution(400, 0.9);
  while (!Done()) Ask(Append(documents[popularity(random_)], Uniform(1, 4)));
}

void Generator::Zipf(double exponent) {
  const std::vector<uint32_t> prompts = Prompts(4000, 8, 40);
  std::discrete_distribution<int> popularity = ZipfDistribution(4000, exponent);
  while (!Done()) Ask(prompts[popularity(random_)]);
}

void Generator::ScanZipf() {
  const std::vector<uint32_t> prompts = Prompts(2000, 8, 40);
  std::discrete_distribution<int> popularity = ZipfDistribution(2000, 1.0);
  while (!Done()) {
    Ask(prompts[popularity(random_)]);
    Ask(Append(kNoSentence, Uniform(10, 60)));
  }
}

void Generator::Loop() {
  const std::vector<uint32_t> prompts = Prompts(1000, 8, 40);
  while (!Done()) {
    for (const uint32_t prompt : prompts) Ask(prompt);
  }
}

}  // namespace

int64_t Trace::FootprintBytes() const {
  std::vector<bool> used(sentences.size());
  int64_t bytes = 0;
  for (const uint32_t tip : requests) {
    for (uint32_t i = tip; i != kNoSentence && !used[i]; i = sentences[i].parent) {
      used[i] = true;
      bytes += sentences[i].bytes;
    }
  }
  return bytes;
}

std::vector<uint32_t> Trace::ChainOf(uint32_t tip) const {
  std::vector<uint32_t> chain(sentences[tip].depth + 1);
  for (size_t i = chain.size(); i > 0; tip = sentences[tip].parent) chain[--i] = tip;
  return chain;
}

std::vector<std::string_view> TraceNames() {
  return {"chat", "shared-documents", "zipf-0.7", "zipf-1.0", "scan-zipf", "loop"};
}

Trace MakeTrace(std::string_view name, uint64_t seed, double scale) {
  Generator generator(name, seed, scale);
  if (name == "chat") {
    generator.Chat();
  } else if (name == "shared-documents") {
    generator.SharedDocuments();
  } else if (name == "zipf-0.7") {
    generator.Zipf(0.7);
  } else if (name == "zipf-1.0") {
    generator.Zipf(1.0);
  } else if (name == "scan-zipf") {
    generator.ScanZipf();
  } else {
    SKV_CHECK(name == "loop");
    generator.Loop();
  }
  return generator.Take();
}

}  // namespace skv::bench
