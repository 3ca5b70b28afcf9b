#include "worker/loader/fingerprint.h"

#include <functional>
#include <set>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/loader/testing/gguf_writer.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::loader {
namespace {

std::string FingerprintOf(const std::string& bytes, const LlamaConfig* config = nullptr) {
  const auto file = *GgufFile::Parse(std::as_bytes(std::span(bytes)), "m.gguf");
  return ToHex(WeightsFingerprint(*file, config != nullptr ? *config : *ReadLlamaConfig(*file)));
}

TEST(FingerprintTest, ChangesWithEveryInputOfTheComputation) {
  std::set<std::string> seen;
  const std::string plain = TinyLlamaGguf();
  EXPECT_EQ(FingerprintOf(plain), FingerprintOf(plain));
  EXPECT_EQ(FingerprintOf(plain).size(), 32u);
  seen.insert(FingerprintOf(plain));

  std::string last_bit = plain;  // of the data: output_norm's last value
  last_bit.back() ^= 1;
  EXPECT_TRUE(seen.insert(FingerprintOf(last_bit)).second) << "a bit of a weight";
  TinyLlamaOptions options;
  options.rope_theta = 20000.0f;
  EXPECT_TRUE(seen.insert(FingerprintOf(TinyLlamaGguf(options))).second) << "rope theta";
  options = {};
  options.rope_scaling = TinyRopeScaling::kLinear;
  EXPECT_TRUE(seen.insert(FingerprintOf(TinyLlamaGguf(options))).second) << "rope scaling";
  options = {};
  options.rms_eps = 1e-6f;
  EXPECT_TRUE(seen.insert(FingerprintOf(TinyLlamaGguf(options))).second) << "epsilon";
  options = {};
  options.weight_type = kernels::QuantType::kQ8_0;
  EXPECT_TRUE(seen.insert(FingerprintOf(TinyLlamaGguf(options))).second) << "weight type";
}

TEST(FingerprintTest, AModelsChangesWithEachFieldOfItsTokenizer) {
  text::TokenizerSpec plain;
  plain.model = "gpt2";
  plain.tokens = {"a", "b", "ab"};
  plain.token_types = {1, 1, 1};
  plain.merges = {"a b"};
  const std::function<void(text::TokenizerSpec*)> kChanges[] = {
      [](auto*) {},
      [](auto* s) { s->model = "gpt3"; },
      [](auto* s) { s->pre = "smollm"; },
      [](auto* s) { s->tokens[1] = "c"; },
      [](auto* s) {
        s->tokens = {"a", "ba", "b"};
      },
      [](auto* s) { s->token_types[2] = 3; },
      [](auto* s) { s->merges[0] = "b a"; },
      [](auto* s) { s->bos_id = 1; },
      [](auto* s) { s->eos_id = 1; },
      [](auto* s) { s->eot_id = 1; },
      [](auto* s) { s->unk_id = 1; },
      [](auto* s) { s->pad_id = 1; },
      [](auto* s) { s->add_bos = true; },
      [](auto* s) { s->add_space_prefix = true; },
      [](auto* s) { s->chat_template = "{{ }}"; }};
  std::set<Fingerprint> seen;
  for (const auto& change : kChanges) {
    text::TokenizerSpec changed = plain;
    change(&changed);
    EXPECT_TRUE(seen.insert(ModelFingerprint({}, changed)).second) << seen.size();
  }
  EXPECT_TRUE(seen.insert(ModelFingerprint({1}, plain)).second) << "other weights";
  EXPECT_EQ(ModelFingerprint({}, plain), ModelFingerprint({}, plain));
}

TEST(FingerprintTest, IgnoresTheOrderOfTensorsAndOtherMetadata) {
  const std::string a(32, 'a'), b(32, 'b');
  GgufWriter first, second;
  first.AddTensor("a", {8}, 0, a);
  first.AddTensor("b", {8}, 0, b);
  second.AddString("general.description", "the same weights");
  second.AddTensor("b", {8}, 0, b);
  second.AddTensor("a", {8}, 0, a);
  const LlamaConfig config;
  EXPECT_EQ(FingerprintOf(first.Finish(), &config), FingerprintOf(second.Finish(), &config));
}

}  // namespace
}  // namespace skv::loader
