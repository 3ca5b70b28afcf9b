#include "common/flags.h"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"

namespace skv {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// A program with one flag of each kind, and what parsing printed.
struct Program {
  Program() : flags("skv-test", "Tests flags.") {
    flags.Add("name", &name, "Name of it");
    flags.Add("verbose", &verbose, "Say more");
    flags.Add("max-num-seqs", &max_num_seqs, IntRange{1, 100}, "Sequences at once");
    flags.Add("capacity", &capacity, IntRange{0, int64_t{1} << 40}, "Bytes");
    flags.Add("temperature", &temperature, RealRange{0, 2}, "Temperature");
    flags.Add("seed", &seed, "Seed");
    flags.Add("budget", &budget, IntRange{16, 1024}, "Tokens");
    flags.Add("factor", &factor, RealRange{0, 10}, "Factor");
    flags.Add("worker-urls", &urls, "Workers");
    flags.AddChoice("policy", &policy, {"round-robin", "least-load"}, "Balancing");
    flags.SetExamples("  skv-test --max-num-seqs 8");
  }
  std::optional<int> Parse(const std::vector<std::string>& args) {
    return flags.Parse(args, out, err);
  }

  std::string name = "none", policy = "round-robin";
  bool verbose = false;
  int max_num_seqs = 16;
  int64_t capacity = 0;
  double temperature = 0.7;
  std::optional<uint64_t> seed;
  std::optional<int64_t> budget;
  std::optional<double> factor;
  std::vector<std::string> urls;
  Flags flags;
  std::ostringstream out, err;
};

class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedEnvironment() { unsetenv(name_); }

 private:
  const char* const name_;
};

class ScopedFile {
 public:
  explicit ScopedFile(const std::string& text)
      : path_(testing::TempDir() + "skv_flags_test_" + std::to_string(getpid()) + ".toml") {
    std::ofstream(path_) << text;
  }
  ~ScopedFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(FlagsTest, SetsEveryKindFromTheCommandLine) {
  Program p;
  EXPECT_EQ(
      p.Parse({"--name", "a b", "--verbose", "--max-num-seqs=3", "--capacity", "1099511627776",
               "--temperature", "1.5", "--worker-urls", "a:1,b:2", "--worker-urls", "c:3",
               "--policy", "least-load", "--budget", "16", "--factor", "2.5"}),
      std::nullopt);
  EXPECT_EQ(p.name, "a b");
  EXPECT_TRUE(p.verbose);
  EXPECT_EQ(p.max_num_seqs, 3);
  EXPECT_EQ(p.capacity, int64_t{1} << 40);
  EXPECT_EQ(p.temperature, 1.5);
  EXPECT_EQ(p.budget, 16);
  EXPECT_EQ(p.factor, 2.5);
  EXPECT_THAT(p.urls, ElementsAre("a:1", "b:2", "c:3"));
  EXPECT_EQ(p.policy, "least-load");
  EXPECT_EQ(p.err.str(), "");
}

TEST(FlagsTest, KeepsDefaultsOfFlagsThatAreNotGiven) {
  Program p;
  EXPECT_EQ(p.Parse({}), std::nullopt);
  EXPECT_EQ(p.name, "none");
  EXPECT_EQ(p.max_num_seqs, 16);
  EXPECT_EQ(p.budget, std::nullopt);
  EXPECT_EQ(p.factor, std::nullopt);
}

TEST(FlagsTest, CommandLineWinsOverEnvironmentOverFileOverDefault) {
  const ScopedFile file("name = \"of file\"\nmax-num-seqs = 5\ncapacity = 7\nverbose = true\n");
  const ScopedEnvironment seqs("SKV_MAX_NUM_SEQS", "6");
  const ScopedEnvironment capacity("SKV_CAPACITY", "8");
  const ScopedEnvironment config("SKV_CONFIG", file.path().c_str());
  Program p;
  EXPECT_EQ(p.Parse({"--capacity", "9"}), std::nullopt) << p.err.str();
  EXPECT_EQ(p.name, "of file");
  EXPECT_EQ(p.max_num_seqs, 6);
  EXPECT_EQ(p.capacity, 9);
  EXPECT_TRUE(p.verbose);
  EXPECT_EQ(p.temperature, 0.7);
}

TEST(FlagsTest, EmptyEnvironmentVariableIsNotGiven) {
  const ScopedEnvironment seqs("SKV_MAX_NUM_SEQS", "");
  Program p;
  EXPECT_EQ(p.Parse({}), std::nullopt) << p.err.str();
  EXPECT_EQ(p.max_num_seqs, 16);
}

TEST(FlagsTest, BadValuesNameFlagValueAndWhatIsExpected) {
  const struct {
    std::vector<std::string> args;
    const char* message;
  } kCases[] = {
      {{"--max-num-seqs", "0"}, "--max-num-seqs: got '0', expected an integer from 1 to 100"},
      {{"--max-num-seqs", "-1"}, "got '-1'"},
      {{"--max-num-seqs", "2147483648"}, "got '2147483648'"},
      {{"--capacity", "9223372036854775808"}, "got '9223372036854775808'"},
      {{"--max-num-seqs", "8x"}, "got '8x'"},
      {{"--max-num-seqs", ""}, "got ''"},
      {{"--seed", "-1"}, "--seed: got '-1', expected an integer from 0 to 18446744073709551615"},
      {{"--budget", "15"}, "--budget: got '15', expected an integer from 16 to 1024"},
      {{"--factor", "-1"}, "--factor: got '-1', expected a number from 0 to 10"},
      {{"--temperature", "nan"}, "--temperature: got 'nan', expected a number from 0 to 2"},
      {{"--temperature", "1e400"}, "got '1e400'"},
      {{"--temperature", "-inf"}, "got '-inf'"},
      {{"--policy", "best"}, "--policy: got 'best', expected one of round-robin, least-load"},
      {{"--verbose=perhaps"}, "got 'perhaps', expected true or false"},
      {{"--no-such-flag"}, "--no-such-flag"},
      {{"--name"}, "--name"},
      {{"stray"}, "stray"},
      {{"--config", "/nonexistent.toml"}, "cannot read '/nonexistent.toml'"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    Program p;
    EXPECT_EQ(p.Parse(c.args), Flags::kUsageExitCode);
    EXPECT_THAT(p.err.str(),
                AllOf(HasSubstr("skv-test: "), HasSubstr(c.message), HasSubstr("--help")));
    EXPECT_EQ(p.out.str(), "");
  }
}

TEST(FlagsTest, BadValuesFromEnvironmentAndFileNameTheirSource) {
  {
    const ScopedEnvironment seqs("SKV_MAX_NUM_SEQS", "many");
    Program p;
    EXPECT_EQ(p.Parse({}), Flags::kUsageExitCode);
    EXPECT_THAT(p.err.str(), HasSubstr("SKV_MAX_NUM_SEQS: got 'many'"));
  }
  const struct {
    const char* text;
    const char* message;
  } kCases[] = {{"max-num-seqs = 1000\n", ".toml: max-num-seqs: got '1000'"},
                {"max-seqs = 10\n", ".toml: max-seqs: there is no such flag"},
                {"[nowhere]\nname = x\n", ".toml: nowhere.name: there is no such flag"},
                {"max-num-seqs = [1, 2]\n", "got 2 values, expected one"}};
  for (const auto& c : kCases) {
    const ScopedFile file(c.text);
    Program p;
    EXPECT_EQ(p.Parse({"--config", file.path()}), Flags::kUsageExitCode);
    EXPECT_THAT(p.err.str(), HasSubstr(c.message));
  }
}

TEST(FlagsTest, HelpShowsFlagsDefaultsRangesAndExamples) {
  Program p;
  EXPECT_EQ(p.Parse({"--help"}), 0);
  EXPECT_THAT(p.out.str(),
              AllOf(HasSubstr("Tests flags."), HasSubstr("--max-num-seqs INT in 1..100=16"),
                    HasSubstr("round-robin|least-load"), HasSubstr("SKV_SOME_FLAG"),
                    HasSubstr("Examples:\n  skv-test --max-num-seqs 8")));
  EXPECT_EQ(p.err.str(), "");
}

TEST(FlagsTest, VersionIsPrinted) {
  Program p;
  EXPECT_EQ(p.Parse({"--version"}), 0);
  EXPECT_EQ(p.out.str(), "0.1.0\n");
}

TEST(FlagsTest, RequiredFlagsMayComeFromAnywhere) {
  {
    Program p;
    p.flags.Require("name");
    EXPECT_EQ(p.Parse({}), Flags::kUsageExitCode);
    EXPECT_THAT(p.err.str(), HasSubstr("--name is required (or SKV_NAME)"));
  }
  const ScopedEnvironment name("SKV_NAME", "given");
  Program p;
  p.flags.Require("name");
  EXPECT_EQ(p.Parse({}), std::nullopt);
  EXPECT_EQ(p.name, "given");
}

TEST(FlagsTest, ANumberMayBeAbsent) {
  Program without, with;
  EXPECT_EQ(without.Parse({}), std::nullopt);
  EXPECT_EQ(without.seed, std::nullopt);
  EXPECT_EQ(with.Parse({"--seed", "18446744073709551615"}), std::nullopt) << with.err.str();
  EXPECT_EQ(with.seed, ~uint64_t{0});
}

TEST(FlagsTest, WhatKubernetesSetsForAServiceIsIgnored) {
  const ScopedEnvironment environment("SKV_MAX_NUM_SEQS", "tcp://10.0.0.7:8070");
  Program p;
  EXPECT_EQ(p.Parse({}), std::nullopt) << p.err.str();
  EXPECT_EQ(p.max_num_seqs, 16);
}

// skv [--json] cluster up --groups N | skv tokenize TEXT
struct Tree {
  Tree() {
    flags.Add("json", &json, "JSON output");
    up.Add("groups", &groups, IntRange{1, 8}, "Groups");
    tokenize.AddPositional("text", &text, "Text");
    tokenize.Require("text");
  }
  std::optional<int> Parse(const std::vector<std::string>& args) {
    return flags.Parse(args, out, err);
  }
  bool json = false;
  int groups = 1;
  std::string text;
  Flags flags{"skv", "A tree."};
  Flags& cluster = flags.AddCommand("cluster", "Clusters.");
  Flags& up = cluster.AddCommand("up", "Starts one.");
  Flags& tokenize = flags.AddCommand("tokenize", "Tokenizes.");
  std::ostringstream out, err;
};

TEST(FlagsTest, SubcommandsHaveTheirOwnFlagsAndArguments) {
  Tree up;
  EXPECT_EQ(up.Parse({"--json", "cluster", "up", "--groups", "3"}), std::nullopt) << up.err.str();
  EXPECT_TRUE(up.up.chosen());
  EXPECT_FALSE(up.tokenize.chosen());
  EXPECT_TRUE(up.json);
  EXPECT_EQ(up.groups, 3);

  Tree tokenize;
  EXPECT_EQ(tokenize.Parse({"tokenize", "a word"}), std::nullopt) << tokenize.err.str();
  EXPECT_EQ(tokenize.text, "a word");
}

TEST(FlagsTest, SubcommandMistakesAreExplained) {
  const struct {
    std::vector<std::string> args;
    const char* message;
  } kCases[] = {{{}, "skv needs a subcommand: one of cluster, tokenize"},
                {{"cluster"}, "cluster needs a subcommand: one of up"},
                {{"cluster", "down"}, "down"},
                {{"tokenize"}, "text is required"},
                {{"cluster", "up", "--groups", "9"}, "--groups: got '9'"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    Tree tree;
    EXPECT_EQ(tree.Parse(c.args), Flags::kUsageExitCode);
    EXPECT_THAT(tree.err.str(), HasSubstr(c.message));
  }
}

TEST(FlagsTest, FileSectionsBelongToTheirCommand) {
  const ScopedFile file("json = true\n[cluster.up]\ngroups = 4\n");
  Tree up;
  EXPECT_EQ(up.Parse({"cluster", "up", "--config", file.path()}), std::nullopt) << up.err.str();
  EXPECT_EQ(up.groups, 4);
  EXPECT_TRUE(up.json);
  Tree tokenize;
  EXPECT_EQ(tokenize.Parse({"--config", file.path(), "tokenize", "x"}), std::nullopt);
  EXPECT_EQ(tokenize.groups, 1);
}

TEST(FlagsTest, OneFileMayServeSeveralPrograms) {
  const ScopedFile file("[skv-test]\nmax-num-seqs = 4\n[skv-other]\nthreads = 8\n");
  Program p;
  EXPECT_EQ(p.Parse({"--config", file.path()}), std::nullopt) << p.err.str();
  EXPECT_EQ(p.max_num_seqs, 4);
  const ScopedFile typo("[skv-test]\nmax-num-sqes = 4\n");
  Program q;
  EXPECT_EQ(q.Parse({"--config", typo.path()}), Flags::kUsageExitCode);
  EXPECT_THAT(q.err.str(), HasSubstr("max-num-sqes: there is no such flag"));
}

TEST(FlagsTest, HelpOfASubcommandShowsItsFlags) {
  Tree tree;
  EXPECT_EQ(tree.Parse({"cluster", "up", "--help"}), 0);
  EXPECT_THAT(tree.out.str(), AllOf(HasSubstr("--groups INT in 1..8=1"), Not(HasSubstr("--json"))));
}

}  // namespace
}  // namespace skv
