#include "worker/engine/sentence_tracker.h"

#include "common/testing/status_matchers.h"
#include "text/tokenizer.h"
#include "worker/engine/rank.h"
#include "worker/loader/testing/tiny_llama.h"

namespace skv::engine {
namespace {

class SentenceTrackerTest : public testing::Test {
 protected:
  SentenceTrackerTest() {
    const auto description = DescribeModel(model_.path());
    EXPECT_OK(description);
    segmenter_ = description->segmenter;
    const auto tokenizer = text::Tokenizer::Create(description->tokenizer);
    EXPECT_OK(tokenizer);
    const auto ids =
        (*tokenizer)
            ->Encode(
                "The first sentence ends here. The second one is a little longer! Is this the "
                "third? Yes, "
                "and so on.\n\nA new paragraph begins, and the text does not end with a stop",
                {});
    EXPECT_OK(ids);
    tokens_ = *ids;
  }

  loader::TinyLlamaFile model_;
  std::shared_ptr<const text::SentenceSegmenter> segmenter_;
  std::vector<TokenId> tokens_;
};

TEST_F(SentenceTrackerTest, SentencesCoverWhatIsFinishedAndNameWhoProvedIt) {
  SentenceTracker tracker(segmenter_);
  tracker.Feed(tokens_);
  EXPECT_EQ(tracker.num_tokens(), static_cast<int>(tokens_.size()));
  ASSERT_GE(tracker.sentences().size(), 4u);
  int begin = 0;
  for (const policy::Sentence& sentence : tracker.sentences()) {
    EXPECT_EQ(sentence.begin, begin);
    EXPECT_GT(sentence.end, begin);
    EXPECT_GE(sentence.known_at, sentence.end - 1);
    EXPECT_LT(sentence.known_at, tracker.num_tokens());
    begin = sentence.end;
  }
}

TEST_F(SentenceTrackerTest, ChunksAndCopiesDoNotMatter) {
  SentenceTracker whole(segmenter_), chunked(segmenter_);
  whole.Feed(tokens_);
  for (size_t i = 0; i < tokens_.size(); i += 7) {
    const size_t count = std::min<size_t>(7, tokens_.size() - i);
    chunked.Feed(absl::MakeSpan(tokens_).subspan(i, count));
    chunked = SentenceTracker(chunked);
  }
  EXPECT_EQ(chunked.sentences(), whole.sentences());
}

}  // namespace
}  // namespace skv::engine
