// skv-logits: teacher-forced logits of one document, for comparison with other implementations.
//   --tokens FILE     token ids, JSON array
//   --positions FILE  positions whose logits are wanted (after that token), ascending JSON array
//   --out FILE        raw float32 [num_positions, vocab_size]

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status.h"
#include "worker/comm/self_communicator.h"
#include "worker/kv/kv_pool.h"
#include "worker/loader/gguf_file.h"
#include "worker/model/llama_model.h"

namespace skv::eval {
namespace {

struct Options {
  std::string model, tokens, positions, out;
  std::string backend = "cpu";
  int threads = 2;
  int chunk = 512;
};

absl::StatusOr<std::vector<int32_t>> ReadInts(const std::string& path) {
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a JSON array of integers"));
  }
  std::vector<int32_t> values;
  for (const auto& item : json) {
    if (!item.is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": expected a JSON array of integers"));
    }
    values.push_back(item.get<int32_t>());
  }
  return values;
}

absl::Status PrintTensorBytes(const std::string& model) {
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(model));
  size_t bytes = 0;
  for (const loader::TensorView& tensor : file->tensors()) bytes += tensor.data.size();
  std::cout << bytes << std::endl;
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  SKV_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, ReadInts(options.tokens));
  SKV_ASSIGN_OR_RETURN(const std::vector<int32_t> positions, ReadInts(options.positions));
  SKV_ASSIGN_OR_RETURN(const auto file, loader::GgufFile::Open(options.model));
  SKV_ASSIGN_OR_RETURN(const auto config, loader::ReadLlamaConfig(*file));
  SKV_ASSIGN_OR_RETURN(const auto tensors, loader::FindLlamaTensors(*file, config));
  SKV_ASSIGN_OR_RETURN(const auto plan, loader::MakeShardPlan(config, tensors, 1, 0));
  SKV_ASSIGN_OR_RETURN(const auto backend,
                       backend::CreateBackend(options.backend, options.threads));
  const auto communicator = comm::CreateSelfCommunicator();
  const int num_tokens = static_cast<int>(tokens.size());
  SKV_ASSIGN_OR_RETURN(
      const auto model,
      model::LlamaModel::Load(config, tensors, plan,
                              {.max_rows = options.chunk, .max_positions = num_tokens},
                              backend.get(), communicator.get()));
  SKV_ASSIGN_OR_RETURN(const auto pool, kv::KvPool::Create(model->kv_layout(), num_tokens + 128));
  SKV_ASSIGN_OR_RETURN(
      const auto policy,
      policy::CreatePolicy({.name = "full"}, model->sequence_shape(num_tokens), nullptr));
  kv::SequenceCache cache(pool.get(), num_tokens);
  policy::KvUse use;
  std::ofstream out(options.out, std::ios::binary);
  std::vector<float> logits;
  size_t next = 0;
  for (int begin = 0; begin < num_tokens; begin += options.chunk) {
    const int count = std::min(options.chunk, num_tokens - begin);
    std::vector<int> rows;
    while (next < positions.size() && positions[next] < begin + count) {
      rows.push_back(positions[next++] - begin);
    }
    SKV_RETURN_IF_ERROR(cache.Reserve(count));
    const model::SequenceRows sequence{&cache,
                                       policy.get(),
                                       &use,
                                       begin,
                                       count,
                                       /*generated=*/false};
    SKV_RETURN_IF_ERROR(model->Forward({.tokens = {tokens.data() + begin, size_t(count)},
                                        .sequences = {&sequence, 1},
                                        .logit_rows = rows},
                                       &logits));
    cache.Commit();
    out.write(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
  }
  if (!out.flush())
    return absl::InternalError(absl::StrCat("--out ", options.out, ": write failed"));
  return absl::OkStatus();
}

}  // namespace
}  // namespace skv::eval

int main(int argc, char** argv) {
  skv::eval::Options options;
  bool tensor_bytes = false;
  skv::Flags flags("skv-logits", "Teacher-forced logits of one document");
  flags.Add("model", &options.model, "GGUF file");
  flags.Require("model");
  flags.Add("tensor-bytes", &tensor_bytes, "Only print the bytes of all tensors in the file");
  flags.Add("tokens", &options.tokens, "Token ids, a JSON array");
  flags.Add("positions", &options.positions, "Wanted positions, a JSON array");
  flags.Add("out", &options.out, "Raw float32 [positions, vocabulary]");
  flags.AddChoice("backend", &options.backend, {"cpu", "ref"}, "Arithmetic; ref is exact and slow");
  flags.Add("threads", &options.threads, skv::IntRange{0, 1024}, "Threads; 0: all cores");
  flags.Add("chunk", &options.chunk, skv::IntRange{1, 8192}, "Tokens a step");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  const absl::Status status =
      tensor_bytes ? skv::eval::PrintTensorBytes(options.model) : skv::eval::Run(options);
  if (!status.ok()) std::cerr << "skv-logits: " << status.ToString() << std::endl;
  return status.ok() ? 0 : 1;
}
