#include "worker/loader/shard_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rounding.h"
#include "common/status.h"

namespace skv::loader {
namespace {

constexpr int kVocabUnit = 16;  // outputs that a packed panel interleaves
// Longer ones leave ranks less even, shorter ones cost prefill more double additions.
constexpr int kMinFfnSegment = 128;

// The file may mix types: cut where the coarsest of the layers' blocks allows.
int CoarsestBlock(const LlamaTensors& tensors, TensorView LlamaLayerTensors::*member) {
  int elements = 1;
  for (const LlamaLayerTensors& layer : tensors.layers) {
    elements = std::lcm(elements, kernels::BlockElements((layer.*member).type));
  }
  return elements;
}

// `count` things in units of `unit` (the last unit may be short) over `world_size` ranks, as evenly
// as possible, the first ranks with one unit more. REQUIRES: at least one unit per rank.
Range EvenShare(int count, int unit, int world_size, int rank) {
  const int num_units = CeilDiv(count, unit);
  const auto boundary = [&](int r) {
    const int units = r * (num_units / world_size) + std::min(r, num_units % world_size);
    return std::min(units * unit, count);
  };
  return {boundary(rank), boundary(rank + 1)};
}

// What cannot be cut between two ranks.
struct SplitUnits {
  int kv_heads;  // the least number whose query heads end at a block boundary of attn_output's rows
  int ffn;       // columns: a segment
  int output_block;  // elements of attn_output's blocks
};

SplitUnits FindUnits(const LlamaConfig& config, const LlamaTensors& tensors) {
  const int output_block = CoarsestBlock(tensors, &LlamaLayerTensors::attn_output);
  const int head_width = config.heads_per_kv_head() * config.head_dim;
  return {std::min(std::lcm(head_width, output_block) / head_width, config.num_kv_heads),
          std::lcm(kMinFfnSegment, CoarsestBlock(tensors, &LlamaLayerTensors::ffn_down)),
          output_block};
}

absl::Status CheckWorldSize(const LlamaConfig& config, const SplitUnits& units, int world_size) {
  const struct {
    std::string what;
    int max_ranks;
  } kLimits[] = {
      {absl::StrCat("the model's ", config.num_kv_heads, " KV heads"), config.num_kv_heads},
      {absl::StrCat("attn_output, whose rows have blocks of ", units.output_block,
                    " columns and heads of ", config.head_dim, ","),
       CeilDiv(config.num_kv_heads, units.kv_heads)},
      {absl::StrCat("the feed-forward layer, ", config.ffn, " columns in units of ", units.ffn,
                    ","),
       std::max(config.ffn / units.ffn, 1)},
      {absl::StrCat("the vocabulary, ", config.vocab_size, " rows in units of ", kVocabUnit, ","),
       CeilDiv(config.vocab_size, kVocabUnit)}};
  for (const auto& limit : kLimits) {
    if (world_size <= limit.max_ranks) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--tp=", world_size, ": ", limit.what, " can be shared by at most ",
                     limit.max_ranks, " rank(s); expected --tp from 1 to ", limit.max_ranks));
  }
  return absl::OkStatus();
}

double LayerBytes(const LlamaTensors& tensors, TensorView LlamaLayerTensors::*member) {
  double bytes = 0;
  for (const LlamaLayerTensors& layer : tensors.layers) {
    bytes += static_cast<double>((layer.*member).data.size());
  }
  return bytes;
}

// FFN columns per rank, in whole units but for the file's last one, so that attention and FFN bytes
// together are even. A rank whose heads alone exceed the even share gets one unit.
std::vector<int> SplitFfn(const std::vector<double>& attention_bytes, double bytes_per_column,
                          int ffn, int unit) {
  const int world_size = static_cast<int>(attention_bytes.size());
  std::vector<bool> is_full(world_size, false);
  std::vector<double> wanted(world_size, unit);
  // Every round fixes at least one rank at one unit or is the last.
  for (bool changed = true; changed;) {
    changed = false;
    double total = ffn * bytes_per_column;
    int num_open = 0;
    for (int r = 0; r < world_size; ++r) {
      total += is_full[r] ? -unit * bytes_per_column : attention_bytes[r];
      num_open += is_full[r] ? 0 : 1;
    }
    for (int r = 0; r < world_size; ++r) {
      if (is_full[r]) continue;
      wanted[r] = (total / num_open - attention_bytes[r]) / bytes_per_column;
      if (wanted[r] < unit && num_open > 1) {
        is_full[r] = changed = true;
        wanted[r] = unit;
        break;
      }
    }
  }
  // Rounds the running sum, leaving a unit for each rank to come.
  std::vector<int> boundaries(world_size + 1, 0);
  double sum = 0;
  for (int r = 0; r + 1 < world_size; ++r) {
    sum += wanted[r];
    const int rounded = static_cast<int>(std::lround(sum / unit)) * unit;
    const int last = (ffn / unit - (world_size - 1 - r)) * unit;
    boundaries[r + 1] = std::clamp(rounded, boundaries[r] + unit, std::max(last, unit));
  }
  boundaries[world_size] = ffn;
  return boundaries;
}

Range FfnShare(const LlamaConfig& config, const LlamaTensors& tensors, const SplitUnits& units,
               int world_size, int rank) {
  const double kv_head_bytes = (LayerBytes(tensors, &LlamaLayerTensors::attn_q) +
                                LayerBytes(tensors, &LlamaLayerTensors::attn_k) +
                                LayerBytes(tensors, &LlamaLayerTensors::attn_v) +
                                LayerBytes(tensors, &LlamaLayerTensors::attn_output)) /
                               config.num_kv_heads;
  const double column_bytes = (LayerBytes(tensors, &LlamaLayerTensors::ffn_gate) +
                               LayerBytes(tensors, &LlamaLayerTensors::ffn_up) +
                               LayerBytes(tensors, &LlamaLayerTensors::ffn_down)) /
                              config.ffn;
  std::vector<double> attention_bytes(world_size);
  for (int r = 0; r < world_size; ++r) {
    attention_bytes[r] =
        kv_head_bytes * EvenShare(config.num_kv_heads, units.kv_heads, world_size, r).size();
  }
  const std::vector<int> boundaries =
      SplitFfn(attention_bytes, column_bytes, config.ffn, units.ffn);
  return {boundaries[rank], boundaries[rank + 1]};
}

TensorSlice Outputs(Range outputs, int scale, int num_inputs) {
  return {outputs.begin * scale, outputs.end * scale, 0, num_inputs};
}

TensorSlice Inputs(Range inputs, int scale, int num_outputs) {
  return {0, num_outputs, inputs.begin * scale, inputs.end * scale};
}

void FillSlices(const LlamaConfig& config, ShardPlan* plan) {
  plan->attn_q = Outputs(plan->heads, config.head_dim, config.hidden);
  plan->attn_kv = Outputs(plan->kv_heads, config.head_dim, config.hidden);
  plan->attn_output = Inputs(plan->heads, config.head_dim, config.hidden);
  plan->ffn_gate_up = Outputs(plan->ffn, 1, config.hidden);
  plan->ffn_down = Inputs(plan->ffn, 1, config.hidden);
  plan->output = Outputs(plan->vocab, 1, config.hidden);
}

}  // namespace

absl::StatusOr<ShardPlan> MakeShardPlan(const LlamaConfig& config, const LlamaTensors& tensors,
                                        int world_size, int rank) {
  if (world_size < 1 || rank < 0 || rank >= world_size) {
    return absl::InvalidArgumentError(absl::StrCat("rank ", rank, " of --tp=", world_size,
                                                   ": expected a rank from 0 to --tp minus 1"));
  }
  const SplitUnits units = FindUnits(config, tensors);
  SKV_RETURN_IF_ERROR(CheckWorldSize(config, units, world_size));
  ShardPlan plan;
  plan.world_size = world_size;
  plan.rank = rank;
  plan.kv_heads = EvenShare(config.num_kv_heads, units.kv_heads, world_size, rank);
  plan.heads = {plan.kv_heads.begin * config.heads_per_kv_head(),
                plan.kv_heads.end * config.heads_per_kv_head()};
  plan.ffn = FfnShare(config, tensors, units, world_size, rank);
  plan.attn_output_segment = units.kv_heads * config.heads_per_kv_head() * config.head_dim;
  plan.ffn_segment = units.ffn;
  plan.vocab = EvenShare(config.vocab_size, kVocabUnit, world_size, rank);
  FillSlices(config, &plan);
  return plan;
}

const std::byte* SliceData(const TensorView& tensor, const TensorSlice& slice) {
  const int64_t column_bytes = int64_t{slice.input_begin} / kernels::BlockElements(tensor.type) *
                               kernels::BlockBytes(tensor.type);
  return tensor.data.data() + slice.output_begin * tensor.row_bytes() + column_bytes;
}

}  // namespace skv::loader
