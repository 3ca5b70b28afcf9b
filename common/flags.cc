#include "common/flags.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/log.h"
#include "common/status.h"
#include "common/version.h"

namespace skv {
namespace {

std::string EnvironmentName(std::string_view name) {
  return absl::StrCat("SKV_", absl::AsciiStrToUpper(absl::StrReplaceAll(Sv(name), {{"-", "_"}})));
}

absl::Status Expected(const std::string& value, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("got '", value, "', expected ", Sv(what)));
}

absl::Status SetInt(const std::string& text, IntRange range, int64_t* value) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < range.min || number > range.max) {
    return Expected(text, absl::StrCat("an integer from ", range.min, " to ", range.max));
  }
  *value = number;
  return absl::OkStatus();
}

absl::Status SetReal(const std::string& text, RealRange range, double* value) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number) || number < range.min ||
      number > range.max) {
    return Expected(text, absl::StrCat("a number from ", range.min, " to ", range.max));
  }
  *value = number;
  return absl::OkStatus();
}

// CLI11 only gathers the values: which of several sources counts is decided here.
CLI::callback_t Collect() {
  return [](const CLI::results_t&) { return true; };
}

absl::Status SetBool(const std::string& text, bool* value) {
  if (absl::SimpleAtob(text, value)) return absl::OkStatus();
  return Expected(text, "true or false");
}

// What Kubernetes puts into SKV_PORT of every pod beside a service called "skv".
bool IsServiceAddress(std::string_view value) {
  return absl::StartsWith(Sv(value), "tcp://") || absl::StartsWith(Sv(value), "udp://");
}

}  // namespace

struct Flags::Flag {
  std::string name;
  CLI::Option* option;
  std::function<absl::Status(const std::string& value)> set;
  bool is_list = false;
  bool is_positional = false;
  bool is_required = false;
  bool is_set = false;

  // Sets it from the values that `source` gives; the last one counts, unless it is a list.
  absl::Status SetFrom(std::string_view source, const std::vector<std::string>& values) {
    is_set = true;
    const std::string value = is_list          ? absl::StrJoin(values, ",")
                              : values.empty() ? ""
                                               : values.back();
    return Annotate(set(value), source);
  }
};

// The items of a configuration file, without CLI11's marks of where sections begin and end.
class Flags::ConfigFile {
 public:
  static absl::StatusOr<ConfigFile> Read(const std::string& path) {
    std::ifstream stream(path);
    if (!stream) {
      return absl::NotFoundError(absl::StrCat("--config: cannot read '", path, "'"));
    }
    ConfigFile file;
    file.path = path;
    for (CLI::ConfigItem& item : CLI::ConfigTOML().from_config(stream)) {
      if (item.name != "++" && item.name != "--") file.items.push_back(std::move(item));
    }
    return file;
  }

  static std::string SectionOf(const CLI::ConfigItem& item) {
    return absl::StrJoin(item.parents, ".");
  }

  std::string path;
  std::vector<CLI::ConfigItem> items;
};

Flags::Flags(std::string_view program, std::string_view description)
    : owned_app_(std::make_unique<CLI::App>(std::string(description), std::string(program))),
      app_(owned_app_.get()) {
  app_->get_formatter()->column_width(34);
  app_->set_version_flag("--version", std::string(Version()), "Print the version and end");
  Add("config", &config_path_,
      "File with flags, a line 'name = value' each; every flag is also read from the environment, "
      "--some-flag from SKV_SOME_FLAG");
}

Flags::Flags(CLI::App* app, std::string path) : app_(app), path_(std::move(path)) {}

Flags::~Flags() = default;

Flags::Flag& Flags::AddFlag(std::string_view name, std::string_view type, std::string_view help,
                            std::function<absl::Status(const std::string& value)> set) {
  CLI::Option* option = app_->add_option("--" + std::string(name), Collect(), std::string(help));
  option->type_name(std::string(type))->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  flags_.push_back(std::make_unique<Flag>(Flag{std::string(name), option, std::move(set)}));
  return *flags_.back();
}

void Flags::Add(std::string_view name, std::string* value, std::string_view help) {
  AddFlag(name, "TEXT", help, [value](const std::string& text) {
    *value = text;
    return absl::OkStatus();
  }).option->default_str(*value);
}

void Flags::Add(std::string_view name, bool* value, std::string_view help) {
  CLI::Option* option = app_->add_flag("--" + std::string(name));
  option->description(std::string(help))->default_str(*value ? "true" : "false");
  flags_.push_back(
      std::make_unique<Flag>(Flag{std::string(name), option, [value](const std::string& text) {
                                    return SetBool(text, value);
                                  }}));
}

void Flags::Add(std::string_view name, int64_t* value, IntRange range, std::string_view help) {
  const std::string type = absl::StrCat("INT in ", range.min, "..", range.max);
  AddFlag(name, type, help, [=](const std::string& text) {
    return SetInt(text, range, value);
  }).option->default_str(absl::StrCat(*value));
}

void Flags::Add(std::string_view name, int* value, IntRange range, std::string_view help) {
  range.min = std::max<int64_t>(range.min, std::numeric_limits<int>::min());
  range.max = std::min<int64_t>(range.max, std::numeric_limits<int>::max());
  const std::string type = absl::StrCat("INT in ", range.min, "..", range.max);
  AddFlag(name, type, help, [=](const std::string& text) {
    int64_t wide = 0;
    SKV_RETURN_IF_ERROR(SetInt(text, range, &wide));
    *value = static_cast<int>(wide);
    return absl::OkStatus();
  }).option->default_str(absl::StrCat(*value));
}

void Flags::Add(std::string_view name, double* value, RealRange range, std::string_view help) {
  const std::string type = absl::StrCat("REAL in ", range.min, "..", range.max);
  AddFlag(name, type, help, [=](const std::string& text) {
    return SetReal(text, range, value);
  }).option->default_str(absl::StrCat(*value));
}

void Flags::Add(std::string_view name, std::optional<uint64_t>* value, std::string_view help) {
  AddFlag(name, "UINT", help, [value](const std::string& text) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text, &number)) {
      return Expected(text, absl::StrCat("an integer from 0 to ", ~uint64_t{0}));
    }
    *value = number;
    return absl::OkStatus();
  });
}

void Flags::Add(std::string_view name, std::optional<int64_t>* value, IntRange range,
                std::string_view help) {
  const std::string type = absl::StrCat("INT in ", range.min, "..", range.max);
  AddFlag(name, type, help,
          [=](const std::string& text) { return SetInt(text, range, &value->emplace()); });
}

void Flags::Add(std::string_view name, std::optional<double>* value, RealRange range,
                std::string_view help) {
  const std::string type = absl::StrCat("REAL in ", range.min, "..", range.max);
  AddFlag(name, type, help,
          [=](const std::string& text) { return SetReal(text, range, &value->emplace()); });
}

void Flags::Add(std::string_view name, std::vector<std::string>* value, std::string_view help) {
  Flag& flag = AddFlag(name, "LIST", help, [value](const std::string& text) {
    *value = absl::StrSplit(text, ',', absl::SkipEmpty());
    return absl::OkStatus();
  });
  flag.is_list = true;
  flag.option->default_str(absl::StrJoin(*value, ","));
}

void Flags::AddChoice(std::string_view name, std::string* value, std::vector<std::string> choices,
                      std::string_view help) {
  const std::string type = absl::StrJoin(choices, "|");
  AddFlag(name, type, help, [=, choices = std::move(choices)](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return Expected(text, absl::StrCat("one of ", absl::StrJoin(choices, ", ")));
    }
    *value = text;
    return absl::OkStatus();
  }).option->default_str(*value);
}

void Flags::AddPositional(std::string_view name, std::string* value, std::string_view help) {
  CLI::Option* option = app_->add_option(std::string(name), Collect(), std::string(help));
  option->type_name("")->default_str(*value);
  flags_.push_back(std::make_unique<Flag>(Flag{std::string(name), option, [=](const auto& text) {
                                                 *value = text;
                                                 return absl::OkStatus();
                                               }}));
  flags_.back()->is_positional = true;
}

void Flags::Require(std::string_view name) {
  for (const auto& flag : flags_) {
    if (flag->name == name) flag->is_required = true;
  }
}

void Flags::SetExamples(std::string_view text) {
  app_->footer(absl::StrCat("Examples:\n", Sv(text)));
}

void Flags::SetExitCodes(std::string_view text) {
  app_->footer(absl::StrCat(app_->get_footer(), "\n\nExit codes:\n", Sv(text)));
}

Flags& Flags::AddCommand(std::string_view name, std::string_view description) {
  CLI::App* app = app_->add_subcommand(std::string(name), std::string(description));
  app->fallthrough();              // --config may stand behind the subcommand
  app_->require_subcommand(0, 1);  // SetAll asks for one, with a list of them
  const std::string path = path_.empty() ? std::string(name) : absl::StrCat(path_, ".", Sv(name));
  commands_.push_back(std::unique_ptr<Flags>(new Flags(app, path)));
  return *commands_.back();
}

bool Flags::chosen() const { return owned_app_ != nullptr || app_->parsed(); }

std::vector<Flags*> Flags::ChosenCommands() {
  std::vector<Flags*> chosen = {this};
  for (const auto& command : commands_) {
    if (!command->chosen()) continue;
    for (Flags* below : command->ChosenCommands()) chosen.push_back(below);
  }
  return chosen;
}

bool Flags::Knows(std::string_view section, std::string_view name) const {
  if (section.empty() || section == path_) {
    for (const auto& flag : flags_) {
      if (flag->name == name && !flag->is_positional) return true;
    }
  }
  for (const auto& command : commands_) {
    if (command->Knows(section, name)) return true;
  }
  return false;
}

std::optional<int> Flags::Parse(int argc, const char* const* argv) {
  return Parse(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), std::cout,
               std::cerr);
}

std::optional<int> Flags::Parse(const std::vector<std::string>& args, std::ostream& out,
                                std::ostream& err) {
  const auto fail = [&](std::string_view message) {
    err << app_->get_name() << ": " << message << "\nRun it with --help to see what it takes.\n";
    return kUsageExitCode;
  };
  try {
    std::vector<std::string> reversed(args.rbegin(), args.rend());  // the order that CLI11 takes
    app_->parse(reversed);
    const absl::Status status = SetAll();
    if (!status.ok()) return fail(StdSv(status.message()));
    return std::nullopt;
  } catch (const CLI::Success& e) {  // --help and --version
    return app_->exit(e, out, err);
  } catch (const std::exception& e) {
    return fail(e.what());
  }
}

absl::Status Flags::SetAll() {
  const std::vector<Flags*> chosen = ChosenCommands();
  SKV_RETURN_IF_ERROR(chosen.back()->CheckEndsTheCommand());
  for (Flags* command : chosen) {
    for (const auto& flag : command->flags_) {
      const std::string variable = EnvironmentName(flag->name);
      const char* from_environment = flag->is_positional ? nullptr : std::getenv(variable.c_str());
      if (from_environment != nullptr && IsServiceAddress(from_environment)) {
        SKV_LOG(WARNING) << variable << "=" << from_environment
                         << " is ignored: Kubernetes sets it for a service of that name";
        from_environment = nullptr;
      }
      if (flag->option->count() > 0) {
        const std::string dashes = flag->is_positional ? "" : "--";
        SKV_RETURN_IF_ERROR(flag->SetFrom(dashes + flag->name, flag->option->results()));
      } else if (from_environment != nullptr && *from_environment != '\0') {
        SKV_RETURN_IF_ERROR(flag->SetFrom(variable, {from_environment}));
      }
    }
  }
  if (!config_path_.empty()) {
    SKV_ASSIGN_OR_RETURN(const ConfigFile file, ConfigFile::Read(config_path_));
    SKV_RETURN_IF_ERROR(Apply(file));
  }
  for (const Flags* command : chosen) {
    for (const auto& flag : command->flags_) {
      if (!flag->is_required || flag->is_set) continue;
      return absl::InvalidArgumentError(flag->is_positional
                                            ? absl::StrCat(flag->name, " is required")
                                            : absl::StrCat("--", flag->name, " is required (or ",
                                                           EnvironmentName(flag->name), ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status Flags::CheckEndsTheCommand() const {
  if (commands_.empty()) return absl::OkStatus();
  std::vector<std::string> names;
  for (const auto& command : commands_) names.push_back(command->app_->get_name());
  return absl::InvalidArgumentError(
      absl::StrCat(app_->get_name(), " needs a subcommand: one of ", absl::StrJoin(names, ", ")));
}

absl::Status Flags::Apply(const ConfigFile& file) {
  for (const CLI::ConfigItem& item : file.items) {
    std::string section = ConfigFile::SectionOf(item);
    if (section == app_->get_name()) section.clear();
    if (absl::StartsWith(section, "skv")) continue;  // another program's
    const std::string source = absl::StrCat(file.path, ": ", item.fullname());
    if (!Knows(section, item.name)) {
      return absl::InvalidArgumentError(absl::StrCat(source, ": there is no such flag"));
    }
    for (Flags* command : ChosenCommands()) {
      if (!section.empty() && section != command->path_) continue;
      for (const auto& flag : command->flags_) {
        if (flag->name != item.name || flag->is_positional || flag->is_set) continue;
        if (item.inputs.size() != 1 && !flag->is_list) {
          return absl::InvalidArgumentError(
              absl::StrCat(source, ": got ", item.inputs.size(),
                           " values, expected one: quote it if it has spaces"));
        }
        SKV_RETURN_IF_ERROR(flag->SetFrom(source, item.inputs));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace skv
