// Asks a model about a document. Each generated token attends at most 384 tokens of it and of the
// answer.
//   skv-example-generate MODEL.gguf DOCUMENT.txt "Who wrote this?"
#include <cmath>
#include <fstream>
#include <iostream>
#include <sstream>

#include "skv/llm.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: skv-example-generate MODEL.gguf DOCUMENT.txt QUESTION\n";
    return 2;
  }
  std::stringstream prompt;
  prompt << std::ifstream(argv[2]).rdbuf() << "\n\n" << argv[3];

  const auto llm = skv::Llm::Open(argv[1]);
  if (!llm.ok()) {
    std::cerr << llm.status() << "\n";
    return 1;
  }
  skv::GenerateOptions options;
  options.max_tokens = 64;
  options.kv_policy = {"sentencekv", /*max_capacity_prompts=*/384, /*semantic_factor=*/2};
  const auto print = [](std::string_view piece) {
    std::cout << piece << std::flush;
    return true;
  };
  const auto answer = (*llm)->Chat({{"user", prompt.str()}}, options, print);
  if (!answer.ok()) {
    std::cerr << answer.status() << "\n";
    return 1;
  }
  std::cout << "\n[" << answer->prompt_tokens << " prompt tokens, " << answer->completion_tokens
            << " generated (" << skv::Name(answer->finish_reason) << "); " << answer->kv.policy.name
            << " read " << std::lround(answer->kv.attended_tokens) << " of "
            << std::lround(answer->kv.visible_tokens) << " tokens a step and as much as "
            << std::lround(answer->kv.choosing_tokens) << " to choose them]\n";
}
