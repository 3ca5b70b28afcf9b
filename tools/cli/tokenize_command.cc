#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/status.h"
#include "text/tokenizer.h"
#include "tools/cli/command.h"
#include "tools/cli/default_model.h"
#include "worker/loader/gguf_file.h"
#include "worker/loader/tokenizer_spec_loader.h"

namespace skv::cli {
namespace {

struct Flags {
  std::string model_path = kDefaultModelPath;
  std::string text;
  bool parse_special = false;
  bool count = false;
  bool json = false;
};

std::string Printable(std::string_view bytes) {
  return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status Run(const Flags& flags) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(flags.model_path));
  SKV_ASSIGN_OR_RETURN(text::TokenizerSpec spec, loader::ReadTokenizerSpec(*file));
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(std::move(spec)));
  std::string text = flags.text;
  if (text == "-") {
    std::stringstream input;
    input << std::cin.rdbuf();
    text = input.str();
  }
  SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                       tokenizer->Encode(text, {.parse_special = flags.parse_special}));
  if (flags.count) {
    std::cout << ids.size() << std::endl;
  } else if (flags.json) {
    std::cout << nlohmann::json(ids).dump() << std::endl;
  } else {
    for (const TokenId id : ids) {
      std::cout << id << "\t" << Printable(tokenizer->TokenBytes(id)) << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenizeCommand(CLI::App* app, Action* action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* const command = app->add_subcommand("tokenize", "Show the tokens of a text");
  command->add_option("text", flags->text, "The text; - for stdin")->required();
  command->add_option("--model", flags->model_path, "GGUF file with the vocabulary")
      ->envname("SKV_MODEL")
      ->capture_default_str();
  command->add_flag("--parse-special", flags->parse_special,
                    "Read control tokens such as <|im_end|> as such");
  command->add_flag("--count", flags->count, "Print only their number");
  command->add_flag("--json", flags->json, "Print the ids as a JSON array");
  command->footer(
      "Examples:\n"
      "  skv tokenize \"Hello world\"\n"
      "  skv tokenize --count - < report.txt");
  command->callback([flags, action] { *action = [flags] { return Run(*flags); }; });
}

}  // namespace skv::cli
