#pragma once
// All KV policies, one line each: POLICY(name, creator, parameters, queries). A new one adds its
// line at the end: plans carry a policy as its place in this list.
//   name        in requests, flags, metrics and fingerprints
//   creator     declared in the policy's own header, a PolicyCreator (worker/policy/kv_policy.h)
//   parameters  of PolicyParams that it has: kNone, kBudget, kBudgetAndFactor
//   queries     how many of a prompt's last ones it learns from: NoQueries, AllQueries, or another
//               PromptQueryCount that a header of the policy declares

#define SKV_KV_POLICIES(POLICY)                                                               \
  POLICY("full", CreateFullPolicy, kNone, NoQueries)                                          \
  POLICY("sentencekv", CreateSentenceKvPolicy, kBudgetAndFactor, SentenceKvQueries)           \
  POLICY("streaming", CreateStreamingPolicy, kBudget, NoQueries)                              \
  POLICY("snapkv", CreateSnapKvPolicy, kBudget, WindowQueries)                                \
  POLICY("pyramidkv", CreatePyramidKvPolicy, kBudget, WindowQueries)                          \
  POLICY("h2o", CreateH2oPolicy, kBudget, AllQueries)                                         \
  POLICY("quest", CreateQuestPolicy, kBudget, NoQueries)                                      \
  POLICY("oracle_topk", CreateOracleTopKPolicy, kBudget, NoQueries)                           \
  POLICY("oracle_sentence", CreateOracleSentencePolicy, kBudget, NoQueries)                   \
  POLICY("oracle_sentence_per_token", CreateOracleSentencePerTokenPolicy, kBudget, NoQueries) \
  POLICY("random", CreateRandomPolicy, kBudget, NoQueries)                                    \
  POLICY("infllm", CreateInfLlmPolicy, kBudget, AllQueries)                                   \
  POLICY("chunk", CreateChunkPolicy, kBudget, WindowQueries)                                  \
  POLICY("sentencekv_colm2025", CreateSentenceKvColm2025Policy, kBudgetAndFactor, Colm2025Queries)
