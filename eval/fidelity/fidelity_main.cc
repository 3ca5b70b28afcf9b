// skv-fidelity: how much of full attention KV policies keep. On texts the metrics F1 to F8, on
// samples of eval/fidelity/make_needles the answers and F9, or the answers to two questions about
// one document. One prefill serves all settings; finished cells are kept in --out. Prints one JSON
// object.

#include <openssl/sha.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/flags.h"
#include "common/status.h"
#include "eval/fidelity/cell_store.h"
#include "eval/fidelity/followup_study.h"
#include "eval/fidelity/needle_study.h"
#include "eval/fidelity/text_study.h"

namespace skv::eval {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> texts;
  std::string samples;
  std::string followups;
  std::string policies = "sentencekv:budget=1024,factor=0";
  bool references = true;
  bool shadow = false;
  TextStudyOptions study;
  double time_budget = 0;  // seconds; 0: none
  std::string out;
  int threads = 2;
};

// What one prefill serves.
struct Job {
  std::string name;
  std::string key;  // of its cells, in front of the setting's name
  nlohmann::json fields;
  std::string text;
  std::optional<NeedleSample> sample;
  std::optional<FollowupSample> followup;
};

std::string Sha256(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest), sizeof(digest)});
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return bytes.str();
}

absl::StatusOr<std::vector<Job>> TextJobs(const Options& options) {
  std::vector<Job> jobs;
  const TextStudyOptions& study = options.study;
  for (const std::string& path : options.texts) {
    Job job;
    SKV_ASSIGN_OR_RETURN(job.text, ReadFile(path));
    job.name = std::filesystem::path(path).filename().string();
    const std::string hash = Sha256(job.text);
    job.key = absl::StrCat(hash, "/length=", study.length, "/steps=", study.steps,
                           "/every=", study.every, study.perplexity ? "/perplexity/" : "/");
    job.fields = {
        {"text", job.name}, {"sha256", hash}, {"length", study.length}, {"steps", study.steps}};
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<std::vector<Job>> SampleJobs(const Options& options) {
  std::vector<Job> jobs;
  SKV_ASSIGN_OR_RETURN(const std::string lines, ReadFile(options.samples));
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    Job job;
    SKV_ASSIGN_OR_RETURN(job.sample, ParseNeedleSample(line));
    job.name = absl::StrCat(job.sample->task, " ", job.sample->seed);
    job.key = absl::StrCat(Sha256(line), "/");
    job.fields = {
        {"task", job.sample->task}, {"seed", job.sample->seed}, {"outputs", job.sample->outputs}};
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<std::vector<Job>> FollowupJobs(const Options& options) {
  std::vector<Job> jobs;
  SKV_ASSIGN_OR_RETURN(const std::string lines, ReadFile(options.followups));
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    Job job;
    SKV_ASSIGN_OR_RETURN(job.followup, ParseFollowupSample(line));
    job.name = absl::StrCat(job.followup->task, " ", job.followup->seed);
    job.key = absl::StrCat(Sha256(line), "/");
    job.fields = {{"task", job.followup->task}, {"seed", job.followup->seed}};
    jobs.push_back(std::move(job));
  }
  return jobs;
}

absl::StatusOr<std::vector<Job>> MakeJobs(const Options& options) {
  const int num_kinds =
      !options.texts.empty() + !options.samples.empty() + !options.followups.empty();
  if (num_kinds != 1) {
    return absl::InvalidArgumentError("expected one of --text, --samples and --followups");
  }
  if (options.shadow && options.texts.empty()) {
    return absl::InvalidArgumentError("--shadow: expected --text; answers are not in the shadow");
  }
  if (!options.texts.empty()) return TextJobs(options);
  return options.samples.empty() ? FollowupJobs(options) : SampleJobs(options);
}

class Study {
 public:
  explicit Study(const Options& options) : options_(options) {}

  absl::Status Run() {
    SKV_ASSIGN_OR_RETURN(settings_, ParsePolicies(options_.policies));
    // References give no answers, and answers are all that a conversation is scored by.
    if (options_.references && options_.followups.empty()) settings_ = WithReferences(settings_);
    for (Setting& setting : settings_) setting.shadow_only |= options_.shadow;
    SKV_ASSIGN_OR_RETURN(jobs_, MakeJobs(options_));
    SKV_ASSIGN_OR_RETURN(
        runner_, ModelRunner::Open({.model_path = options_.model, .threads = options_.threads}));
    SKV_ASSIGN_OR_RETURN(CellStore store, CellStore::Open(options_.out, Subject()));
    return RunJobs(&store);
  }

  const nlohmann::json& report() const { return report_; }

 private:
  using Seconds = std::chrono::duration<double>;

  std::string Subject() const {
    return absl::StrCat(runner_->numerics_id(), "/", Sv(text::kSegmenterId));
  }

  // The names under which a job's cells are kept: all settings', and that of full attention's
  // answers.
  std::vector<std::pair<std::string, nlohmann::json>> CellNames(const Job& job) const {
    std::vector<std::pair<std::string, nlohmann::json>> names;
    if (job.sample || job.followup) names.push_back({"full", {{"family", "full"}}});
    for (const Setting& setting : settings_) {
      names.push_back(
          {setting.name(),
           {{"family", setting.params.name}, {"budget", setting.params.budget_tokens}}});
    }
    return names;
  }

  std::vector<Setting> MissingSettings(const Job& job, const CellStore& store) const {
    std::vector<Setting> missing;
    for (const Setting& setting : settings_) {
      if (store.Find(job.key + setting.name()) == nullptr) missing.push_back(setting);
    }
    return missing;
  }

  absl::Status RunJobs(CellStore* store) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::pair<const Job*, std::vector<Setting>>> open;
    for (const Job& job : jobs_) {
      auto missing = MissingSettings(job, *store);
      if (!missing.empty()) open.push_back({&job, std::move(missing)});
    }
    size_t done = 0;
    for (; done < open.size(); ++done) {
      const double elapsed = Seconds(std::chrono::steady_clock::now() - start).count();
      const double each = done == 0 ? 0 : elapsed / done;
      if (options_.time_budget > 0 && elapsed + each > options_.time_budget) break;
      std::cerr << absl::StrFormat("[%d/%d] %s, %d settings", done + 1, open.size(),
                                   open[done].first->name, open[done].second.size());
      if (done > 0) std::cerr << absl::StrFormat(", %.0f s left", each * (open.size() - done));
      std::cerr << std::endl;
      SKV_RETURN_IF_ERROR(
          Annotate(RunJob(*open[done].first, open[done].second, store), open[done].first->name));
    }
    report_ = {{"subject", Subject()},
               {"complete", done == open.size()},
               {"jobs_left", open.size() - done},
               {"cells", Collect(*store)}};
    return absl::OkStatus();
  }

  absl::Status RunJob(const Job& job, const std::vector<Setting>& settings, CellStore* store) {
    std::map<std::string, nlohmann::json> results;
    if (job.sample) {
      SKV_ASSIGN_OR_RETURN(results, StudyNeedle(runner_.get(), *job.sample, settings));
    } else if (job.followup) {
      SKV_ASSIGN_OR_RETURN(results, StudyFollowup(runner_.get(), *job.followup, settings));
    } else {
      SKV_ASSIGN_OR_RETURN(const auto tokens, runner_->tokenizer().Encode(job.text, {}));
      SKV_ASSIGN_OR_RETURN(results, StudyText(runner_.get(), tokens, settings, options_.study));
    }
    nlohmann::json cells;
    for (const auto& [name, metrics] : results) cells[job.key + name] = metrics;
    return store->Add(cells);
  }

  nlohmann::json Collect(const CellStore& store) const {
    nlohmann::json cells = nlohmann::json::array();
    for (const Job& job : jobs_) {
      for (const auto& [name, fields] : CellNames(job)) {
        const nlohmann::json* const metrics = store.Find(job.key + name);
        if (metrics == nullptr) continue;
        nlohmann::json cell = *metrics;
        cell.update(job.fields);
        cell.update(fields);
        cell["setting"] = name;
        cells.push_back(std::move(cell));
      }
    }
    return cells;
  }

  const Options options_;
  std::vector<Setting> settings_;
  std::vector<Job> jobs_;
  std::unique_ptr<ModelRunner> runner_;
  nlohmann::json report_;
};

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  skv::eval::Options options;
  skv::Flags flags("skv-fidelity", "How much of full attention KV policies keep");
  flags.Add("model", &options.model, "GGUF file");
  flags.Require("model");
  flags.Add("text", &options.texts, "Text files: metrics F1 to F8");
  flags.Add("samples", &options.samples,
            "JSON lines of eval/fidelity/make_needles: answers and F9");
  flags.Add("followups", &options.followups,
            "JSON lines of eval/fidelity/make_needles --task followup: both answers");
  flags.Add(
      "policies", &options.policies,
      "NAME:budget=TOKENS,factor=NUMBER;NAME...; sentencekv also digest=, boundary=, reduction=, "
      "found=, expected=, least=, rank=, prompt_queries=, query= "
      "(eval/fidelity/sentencekv_variant.h)");
  flags.Add("references", &options.references,
            "Score the selections of oracles and chance at every budget too");
  flags.Add("shadow", &options.shadow,
            "Score the selections of all policies and let no sequence attend them: F1 to F4, fast");
  flags.Add("length", &options.study.length, skv::IntRange{16, 1 << 20},
            "Tokens of a text's prefix and generated steps together");
  flags.Add("steps", &options.study.steps, skv::IntRange{1, 4096}, "Generated tokens");
  flags.Add("every", &options.study.every, skv::IntRange{1, 4096},
            "Steps from one that is scored by attention mass to the next");
  flags.Add("perplexity", &options.study.perplexity, "F8 too: slow");
  flags.Add("time-budget", &options.time_budget, skv::RealRange{0, 1e9},
            "Seconds after which no further text or sample begins; 0: none");
  flags.Add("out", &options.out, "Finished cells: a later run goes on from them");
  flags.Add("threads", &options.threads, skv::IntRange{1, 1024}, "Threads");
  flags.SetExamples(
      "  skv-fidelity --model M.gguf --text eval/data/prose_genesis.txt --length 2048 \\\n"
      "      --policies 'sentencekv:budget=256;sentencekv:budget=512' --out state.json");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  skv::eval::Study study(options);
  const absl::Status status = study.Run();
  if (!status.ok()) {
    std::cerr << "skv-fidelity: " << std::string(status.message()) << std::endl;
    return 1;
  }
  std::cout << study.report().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
            << std::endl;
  return 0;
}
