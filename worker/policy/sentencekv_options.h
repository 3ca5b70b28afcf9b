#pragma once
// What `sentencekv` could do otherwise. Requests choose none of it: the defaults are what is served
// (docs/fidelity.md says why), other values are for studies and for the published setting.

#include "worker/policy/digest.h"
#include "worker/policy/group_reduction.h"
#include "worker/policy/policy_params.h"

namespace skv::policy {

// What a query attends at the end of a sentence and at the start of the next one, which has said
// little of what it asks for.
enum class Boundary {
  kCarry,  // the mean query of the sentence before stands for what a mean of four still lacks
  kLocal,  // nothing but the sentence's own queries count, be it one
  kFull,   // as kLocal, and two queries attend every token that can be chosen: the one that ends a
           // sentence, if its own token proves that end, and the first of each sentence
};

struct SentenceKvOptions {
  Digest digest = kDefaultDigest;
  Boundary boundary = Boundary::kCarry;
  GroupReduction reduction = GroupReduction::kMaxShare;
  // Sentences are found for up to this many tokens for each one that the query may choose; 1: whole
  // sentences.
  float found_per_chosen = 5;
  // The query chooses by sketches of their keys (kernels/key_sketch.h), else by the keys.
  bool sketches = true;
  // With kMaxShare: a sentence is not found when its tokens are expected to get less than this
  // share of the mean token's attention from every head; 0: room alone decides.
  float least_expected = 0;
  // Where not all that is found can be attended: a token of it that gets less than this share of
  // the mean one's attention is not; 0: room alone decides.
  float least_of_mean = 0.1f;
  // The last prompt queries that the running query starts from: more would blur what is asked.
  int prompt_queries = 32;
  // Half of the running query is the newest query, else all of it their mean.
  bool blend_newest = true;

  bool operator==(const SentenceKvOptions&) const = default;
};

// Prompt tokens that can be chosen, or all of them when the filter has nothing to leave out.
// REQUIRES: Validate(params).ok()
int NumEligible(const PolicyParams& params, int num_prompt_tokens);

// How many of a prompt's last queries count: those that the running query starts from, and those
// that rank the prompt where it is filtered. REQUIRES: as NumEligible
int SentenceKvQueries(const PolicyParams& params, int num_prompt_tokens,
                      const SentenceKvOptions& options);

}  // namespace skv::policy
