#pragma once
// `sentencekv` (SentenceKV, arXiv 2504.00970): one vector a sentence; a query attends the start,
// the recent tokens and, of the sentences that the sentence being written asks for, the tokens that
// it wants most itself. The paper attends whole sentences; at an equal budget they hold less of
// full attention than tokens, even if chosen with full knowledge of it (`oracle_sentence`).
//
// With budget B, a query at `position` attends all when position < B, else at most B tokens:
//   start   the first min(32, B / 8)
//   recent  the last min(32, B / 4), or as many as follow the last sentence end if that is more;
//           never more than the start leaves
//   chosen  of what lies between, in two stages:
//           1. whole sentences are found, by the share of attention that one of their tokens is
//              expected to get (kernels::GroupMass of the running query and the digests), for
//              found_per_chosen times as many tokens as there is room for; the last one is cut at
//              its end
//           2. of these the query chooses by sketches of their keys, 4 bits a channel
//              (worker/policy/token_choice.h), those with least_of_mean of the mean or more, while
//              there is room. All, if there is for all
// So a head that looks at little attends little, and one that looks everywhere B.
// With a semantic factor r > 0 and a prompt of more than r * B tokens only its r * B most important
// ones (worker/policy/importance.h) can be chosen and take part in digests.
//
// Other options (worker/policy/sentencekv_options.h) change what finds sentences, and with
// Boundary::kFull some queries attend more than B.

#include <memory>

#include "worker/policy/kv_policy.h"
#include "worker/policy/sentencekv_options.h"

namespace skv::policy {

// REQUIRES: Validate(params).ok(); sentences are adjacent, the first begins at 0, and known_at does
// not fall.
std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences,
                                                 const SentenceKvOptions& options);
// With the default options.
std::unique_ptr<KvPolicy> CreateSentenceKvPolicy(const PolicyParams& params,
                                                 const SequenceShape& shape,
                                                 const std::vector<Sentence>* sentences);
PromptQueryCount SentenceKvQueries;

}  // namespace skv::policy
