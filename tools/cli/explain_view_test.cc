#include "tools/cli/explain_view.h"

#include <gtest/gtest.h>

namespace skv::cli {
namespace {

const std::vector<ExplainedSentence> kExplanations = {
    {.token_begin = 0,
     .token_end = 7,
     .text = " Anna wrote\nit.",
     .reads = {{.token_begin = 30,
                .token_end = 34,
                .text_begin = 120,
                .text_end = 137,
                .text = "Anna\x1b[31m wrote this.\n\n",
                .score = 0.875,
                .heads_share = 0.417},
               {.token_begin = 4,
                .token_end = 9,
                .text_begin = 7,
                .text_end = 15,
                .text = "caf\xc3\xa9 \xc2\x9bM",
                .score = 0.25,
                .heads_share = 1},
               {.token_begin = 0,
                .token_end = 4,
                .text_begin = 0,
                .text_end = 7,
                .text = "Report.",
                .score = 0.004,
                .heads_share = 0}}}};

TEST(ExplainViewTest, PlainOutputHasALineForEachSentenceAndNoControlCharacter) {
  EXPECT_EQ(RenderExplanations(kExplanations, /*color=*/false),
            "[1] Anna wrote it.\n"
            "    score 0.88  heads  42 %  bytes 120-137  Anna [31m wrote this.\n"
            "    score 0.25  heads 100 %  bytes 7-15  caf\xc3\xa9 M\n"
            "    score 0.00  heads   0 %  bytes 0-7  Report.\n");
}

TEST(ExplainViewTest, ColoursGoByScore) {
  EXPECT_EQ(RenderExplanations(kExplanations, /*color=*/true),
            "[1] \x1b[1mAnna wrote it.\x1b[0m\n"
            "    score 0.88  heads  42 %  bytes 120-137  \x1b[1;33mAnna [31m wrote this.\x1b[0m\n"
            "    score 0.25  heads 100 %  bytes 7-15  \x1b[33mcaf\xc3\xa9 M\x1b[0m\n"
            "    score 0.00  heads   0 %  bytes 0-7  \x1b[2mReport.\x1b[0m\n");
}

TEST(ExplainViewTest, NothingToExplainIsSaid) {
  EXPECT_EQ(RenderExplanations({}, /*color=*/true),
            "Nothing to explain: fewer than two tokens were generated.\n");
  EXPECT_EQ(ToJson(std::vector<ExplainedSentence>{}).dump(), "[]");
}

TEST(ExplainViewTest, JsonHasEveryField) {
  EXPECT_EQ(ToJson(kExplanations)[0]["text"], " Anna wrote\nit.");
  EXPECT_EQ(ToJson(kExplanations)[0]["token_end"], 7);
  EXPECT_EQ(
      ToJson(kExplanations)[0]["reads"][1].dump(),
      "{\"text\":\"caf\xc3\xa9 \xc2\x9bM\",\"text_begin\":7,\"text_end\":15,\"token_begin\":4,"
      "\"token_end\":9,\"score\":0.25,\"heads_share\":1.0}");
}

}  // namespace
}  // namespace skv::cli
