#pragma once
// All KV policies, one line each: POLICY(name, creator, parameters). A new one adds its line at the
// end: plans carry a policy as its place in this list.
//   name        in requests, flags, metrics and fingerprints
//   creator     declared in the policy's own header, a PolicyCreator (worker/policy/kv_policy.h)
//   parameters  of PolicyParams that it has: kNone, kBudget, kBudgetAndFactor

#define SKV_KV_POLICIES(POLICY)                                                    \
  POLICY("full", CreateFullPolicy, kNone)                                          \
  POLICY("sentencekv", CreateSentenceKvPolicy, kBudgetAndFactor)                   \
  POLICY("streaming", CreateStreamingPolicy, kBudget)                              \
  POLICY("snapkv", CreateSnapKvPolicy, kBudget)                                    \
  POLICY("pyramidkv", CreatePyramidKvPolicy, kBudget)                              \
  POLICY("h2o", CreateH2oPolicy, kBudget)                                          \
  POLICY("quest", CreateQuestPolicy, kBudget)                                      \
  POLICY("oracle_topk", CreateOracleTopKPolicy, kBudget)                           \
  POLICY("oracle_sentence", CreateOracleSentencePolicy, kBudget)                   \
  POLICY("oracle_sentence_per_token", CreateOracleSentencePerTokenPolicy, kBudget) \
  POLICY("random", CreateRandomPolicy, kBudget)                                    \
  POLICY("infllm", CreateInfLlmPolicy, kBudget)                                    \
  POLICY("chunk", CreateChunkPolicy, kBudget)                                      \
  POLICY("sentencekv_colm2025", CreateSentenceKvColm2025Policy, kBudgetAndFactor)
