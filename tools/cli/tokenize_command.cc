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

struct Options {
  std::string model_path = kDefaultModelPath;
  std::string text;
  bool parse_special = false;
  bool count = false;
  bool json = false;
};

std::string Printable(std::string_view bytes) {
  return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status Run(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(options.model_path));
  SKV_ASSIGN_OR_RETURN(text::TokenizerSpec spec, loader::ReadTokenizerSpec(*file));
  SKV_ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Create(std::move(spec)));
  std::string text = options.text;
  if (text == "-") {
    std::stringstream input;
    input << std::cin.rdbuf();
    text = input.str();
  }
  SKV_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                       tokenizer->Encode(text, {.parse_special = options.parse_special}));
  if (options.count) {
    std::cout << ids.size() << std::endl;
  } else if (options.json) {
    std::cout << nlohmann::json(ids).dump() << std::endl;
  } else {
    for (const TokenId id : ids) {
      std::cout << id << "\t" << Printable(tokenizer->TokenBytes(id)) << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace

Command AddTokenizeCommand(Flags* program) {
  auto options = std::make_shared<Options>();
  Flags& flags = program->AddCommand("tokenize", "Show the tokens of a text");
  flags.AddPositional("text", &options->text, "The text; - for stdin");
  flags.Require("text");
  flags.Add("model", &options->model_path, "GGUF file with the vocabulary");
  flags.Add("parse-special", &options->parse_special,
            "Read control tokens such as <|im_end|> as such");
  flags.Add("count", &options->count, "Print only their number");
  flags.Add("json", &options->json, "Print the ids as a JSON array");
  flags.SetExamples(
      "  skv tokenize \"Hello world\"\n"
      "  skv tokenize --count - < report.txt");
  return {&flags, [options] { return Run(*options); }};
}

}  // namespace skv::cli
