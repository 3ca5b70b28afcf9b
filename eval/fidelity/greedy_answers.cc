#include "eval/fidelity/greedy_answers.h"

#include "common/status.h"
#include "eval/fidelity/logit_comparison.h"

namespace skv::eval {
namespace {

// Takes answer->next into the answer. True when more are to follow.
bool Take(const text::Tokenizer& tokenizer, int max_tokens, Answer* answer) {
  if (tokenizer.IsEndOfGeneration(answer->next)) return false;
  answer->tokens.push_back(answer->next);
  answer->text += tokenizer.TokenBytes(answer->next);
  return static_cast<int>(answer->tokens.size()) < max_tokens;
}

}  // namespace

absl::Status DecodeAnswers(ModelRunner* runner, int max_tokens, std::vector<Answer>* answers) {
  const size_t vocab_size = runner->vocab_size();
  std::vector<float> logits;
  std::vector<Answer*> open;
  for (Answer& answer : *answers) open.push_back(&answer);
  while (true) {
    std::erase_if(open,
                  [&](Answer* answer) { return !Take(runner->tokenizer(), max_tokens, answer); });
    if (open.empty()) return absl::OkStatus();
    std::vector<Sequence*> sequences;
    std::vector<TokenId> tokens;
    for (const Answer* answer : open) {
      sequences.push_back(answer->sequence.get());
      tokens.push_back(answer->next);
    }
    SKV_RETURN_IF_ERROR(runner->Step(sequences, tokens, &logits));
    for (size_t i = 0; i < open.size(); ++i) {
      ++open[i]->num_steps;
      open[i]->next = Argmax({logits.data() + i * vocab_size, vocab_size});
    }
  }
}

}  // namespace skv::eval
