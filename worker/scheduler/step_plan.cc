#include "worker/scheduler/step_plan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

// Layout: 4 bytes of magic, then varints (7 bits a byte, low first, the last byte below 128):
//   step_idx, shutdown, and six lists, each its length and then its entries field by field.
// In an admission the sentence ends are a list of differences; the policy is its index among
// PolicyNames, the budget, and the 8 bytes of the factor and of min_recall, low first. The length
// of prompt_ids ends it, or, unless 0, is followed by 4 bytes an id, low first (a prompt is long,
// and these are copied as they lie), the 16 bytes of the root, and max_cached_tokens.
// Tokens are not delta-coded: an id of a 49k vocabulary takes 3 bytes at most as it is.

namespace skv::scheduler {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie");

constexpr std::string_view kMagic = "SKP5";
constexpr uint64_t kMaxInt = std::numeric_limits<int>::max();

void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutInt(int value, std::string* out) { PutVarint(static_cast<uint32_t>(value), out); }

void PutRaw(const void* data, size_t num_bytes, std::string* out) {
  out->append(static_cast<const char*>(data), num_bytes);
}

void PutPolicy(const policy::PolicyParams& params, std::string* out) {
  const auto names = policy::PolicyNames();
  PutVarint(std::find(names.begin(), names.end(), params.name) - names.begin(), out);
  PutInt(params.budget_tokens, out);
  PutRaw(&params.semantic_factor, sizeof(double), out);
  PutRaw(&params.min_recall, sizeof(double), out);
}

void PutSentenceEnds(const std::vector<int>& ends, std::string* out) {
  PutVarint(ends.size(), out);
  int last = 0;
  for (const int end : ends) PutInt(end - std::exchange(last, end), out);
}

void PutPrefix(const Admission& admission, std::string* out) {
  PutVarint(admission.prompt_ids.size(), out);
  if (admission.prompt_ids.empty()) return;
  PutRaw(admission.prompt_ids.data(), admission.prompt_ids.size() * sizeof(TokenId), out);
  PutRaw(admission.prefix_root.bytes.data(), admission.prefix_root.bytes.size(), out);
  PutInt(admission.max_cached_tokens, out);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  absl::Status Error(std::string_view what) const {
    return absl::DataLossError(absl::StrCat("step plan: ", Sv(what), " at byte ", offset_, " of ",
                                            bytes_.size(),
                                            "; the ranks have lost step, restart the group"));
  }

  absl::Status ReadMagic() {
    if (bytes_.substr(0, kMagic.size()) != kMagic) return Error("magic SKP5 missing");
    offset_ = kMagic.size();
    return absl::OkStatus();
  }

  absl::Status ReadVarint(uint64_t max, std::string_view what, uint64_t* value) {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (offset_ == bytes_.size()) return Error(absl::StrCat(Sv(what), " cut off"));
      const uint64_t byte = static_cast<unsigned char>(bytes_[offset_++]);
      const uint64_t bits = byte & 0x7f;
      if (shift == 63 && bits > 1) break;
      result |= bits << shift;
      if (byte >= 0x80) continue;
      if (byte == 0 && shift > 0) return Error(absl::StrCat(Sv(what), " has a needless byte"));
      if (result > max) {
        return Error(absl::StrCat(Sv(what), " is ", result, ", expected at most ", max));
      }
      *value = result;
      return absl::OkStatus();
    }
    return Error(absl::StrCat(Sv(what), " is over 64 bits"));
  }

  absl::Status ReadInt(uint64_t min, uint64_t max, std::string_view what, int* value) {
    uint64_t wide = 0;
    SKV_RETURN_IF_ERROR(ReadVarint(max, what, &wide));
    if (wide < min)
      return Error(absl::StrCat(Sv(what), " is ", wide, ", expected ", min, " or more"));
    *value = static_cast<int>(wide);
    return absl::OkStatus();
  }

  absl::Status ReadId(std::string_view what, SequenceId* id) {
    return ReadVarint(std::numeric_limits<uint64_t>::max(), what, id);
  }

  absl::Status ReadBool(std::string_view what, bool* value) {
    uint64_t wide = 0;
    SKV_RETURN_IF_ERROR(ReadVarint(1, what, &wide));
    *value = wide == 1;
    return absl::OkStatus();
  }

  // The next bytes as they lie.
  absl::Status ReadRaw(size_t num_bytes, std::string_view what, std::string_view* raw) {
    if (bytes_.size() - offset_ < num_bytes) return Error(absl::StrCat(Sv(what), " cut off"));
    *raw = bytes_.substr(offset_, num_bytes);
    offset_ += num_bytes;
    return absl::OkStatus();
  }

  absl::Status ReadDouble(std::string_view what, double* value) {
    std::string_view raw;
    SKV_RETURN_IF_ERROR(ReadRaw(sizeof(*value), what, &raw));
    std::memcpy(value, raw.data(), raw.size());
    return absl::OkStatus();
  }

  // REQUIRES: num_ids >= 1.
  absl::Status ReadIds(size_t num_ids, std::string_view what, std::vector<TokenId>* ids) {
    std::string_view raw;
    SKV_RETURN_IF_ERROR(ReadRaw(num_ids * sizeof(TokenId), what, &raw));
    ids->resize(num_ids);
    std::memcpy(ids->data(), raw.data(), raw.size());
    const TokenId min = *std::min_element(ids->begin(), ids->end());
    if (min < 0) return Error(absl::StrCat(Sv(what), " has ", min, ", expected 0 or more"));
    return absl::OkStatus();
  }

  // Every entry takes at least `bytes_each` bytes, so a length that lies cannot make us allocate.
  template <typename T, typename ReadEntry>
  absl::Status ReadList(size_t bytes_each, std::string_view what, std::vector<T>* list,
                        ReadEntry read_entry) {
    uint64_t size = 0;
    SKV_RETURN_IF_ERROR(ReadVarint((bytes_.size() - offset_) / bytes_each, what, &size));
    list->resize(size);
    for (T& entry : *list) SKV_RETURN_IF_ERROR(read_entry(&entry));
    return absl::OkStatus();
  }

  bool at_end() const { return offset_ == bytes_.size(); }

 private:
  const std::string_view bytes_;
  size_t offset_ = 0;
};

absl::Status ReadPolicy(Reader* in, policy::PolicyParams* params) {
  const auto names = policy::PolicyNames();
  int name_idx = 0;
  SKV_RETURN_IF_ERROR(in->ReadInt(0, names.size() - 1, "policy", &name_idx));
  params->name = names[name_idx];
  SKV_RETURN_IF_ERROR(in->ReadInt(0, kMaxInt, "budget_tokens", &params->budget_tokens));
  SKV_RETURN_IF_ERROR(in->ReadDouble("semantic_factor", &params->semantic_factor));
  SKV_RETURN_IF_ERROR(in->ReadDouble("min_recall", &params->min_recall));
  const absl::Status status = policy::Validate(*params);
  return status.ok() ? status : in->Error(std::string(status.message()));
}

absl::Status ReadSentenceEnds(Reader* in, int num_prompt_tokens, std::vector<int>* ends) {
  int last = 0;
  return in->ReadList(1, "length of sentence_ends", ends, [&](int* end) {
    int num_tokens = 0;
    SKV_RETURN_IF_ERROR(in->ReadInt(1, num_prompt_tokens - last, "sentence's tokens", &num_tokens));
    *end = last += num_tokens;
    return absl::OkStatus();
  });
}

absl::Status ReadPrefix(Reader* in, Admission* admission) {
  const int num_prompt_tokens = admission->num_prompt_tokens;
  int num_ids = 0;
  SKV_RETURN_IF_ERROR(in->ReadInt(0, num_prompt_tokens, "length of prompt_ids", &num_ids));
  if (num_ids == 0) return absl::OkStatus();
  if (num_ids != num_prompt_tokens) {
    return in->Error(
        absl::StrCat("length of prompt_ids is ", num_ids, ", expected 0 or ", num_prompt_tokens));
  }
  SKV_RETURN_IF_ERROR(in->ReadIds(num_ids, "prompt_ids", &admission->prompt_ids));
  std::string_view root;
  SKV_RETURN_IF_ERROR(in->ReadRaw(sizeof(PrefixKey::bytes), "prefix_root", &root));
  std::memcpy(admission->prefix_root.bytes.data(), root.data(), root.size());
  return in->ReadInt(1, num_prompt_tokens - 1, "max_cached_tokens", &admission->max_cached_tokens);
}

absl::Status ReadAdmission(Reader* in, Admission* admission) {
  SKV_RETURN_IF_ERROR(in->ReadId("admitted id", &admission->id));
  SKV_RETURN_IF_ERROR(in->ReadInt(1, kMaxInt, "num_prompt_tokens", &admission->num_prompt_tokens));
  SKV_RETURN_IF_ERROR(in->ReadInt(admission->num_prompt_tokens, kMaxInt, "max_tokens_total",
                                  &admission->max_tokens_total));
  SKV_RETURN_IF_ERROR(
      ReadSentenceEnds(in, admission->num_prompt_tokens, &admission->sentence_ends));
  SKV_RETURN_IF_ERROR(ReadPolicy(in, &admission->policy));
  SKV_RETURN_IF_ERROR(in->ReadInt(0, kMaxInt, "explain_top", &admission->explain_top));
  SKV_RETURN_IF_ERROR(
      in->ReadInt(0, admission->max_tokens_total, "num_slots", &admission->num_slots));
  return ReadPrefix(in, admission);
}

absl::Status ReadLookUp(Reader* in, LookUp* lookup) {
  SKV_RETURN_IF_ERROR(in->ReadId("looked up id", &lookup->id));
  return in->ReadBool("may_wait", &lookup->may_wait);
}

absl::Status ReadFork(Reader* in, Fork* fork) {
  SKV_RETURN_IF_ERROR(in->ReadId("child id", &fork->child));
  SKV_RETURN_IF_ERROR(in->ReadId("parent id", &fork->parent));
  if (fork->child == fork->parent) return in->Error("a sequence forks from itself");
  SKV_RETURN_IF_ERROR(in->ReadInt(1, kMaxInt, "num_shared_tokens", &fork->num_shared_tokens));
  return in->ReadInt(fork->num_shared_tokens, kMaxInt, "max_tokens_total", &fork->max_tokens_total);
}

absl::Status ReadChunk(Reader* in, Chunk* chunk) {
  SKV_RETURN_IF_ERROR(in->ReadId("chunk id", &chunk->id));
  SKV_RETURN_IF_ERROR(in->ReadInt(0, kMaxInt, "first_position", &chunk->first_position));
  const uint64_t room = kMaxInt - chunk->first_position;
  SKV_RETURN_IF_ERROR(in->ReadInt(1, room, "num_tokens", &chunk->num_tokens));
  bool generated = false;
  SKV_RETURN_IF_ERROR(in->ReadBool("position_class", &generated));
  chunk->position_class = generated ? PositionClass::kGenerated : PositionClass::kPrompt;
  return in->ReadBool("sample", &chunk->sample);
}

absl::Status CheckTokenCount(const StepPlan& plan, const Reader& in) {
  uint64_t expected = 0;
  for (const Chunk& chunk : plan.chunks) expected += chunk.num_tokens;
  if (plan.tokens.size() == expected) return absl::OkStatus();
  return in.Error(absl::StrCat("has ", plan.tokens.size(), " tokens, its chunks name ", expected));
}

}  // namespace

std::string Encode(const StepPlan& plan) {
  std::string out(kMagic);
  PutVarint(plan.step_idx, &out);
  PutInt(plan.shutdown, &out);
  PutVarint(plan.released.size(), &out);
  for (const SequenceId id : plan.released) PutVarint(id, &out);
  PutVarint(plan.admitted.size(), &out);
  for (const Admission& admission : plan.admitted) {
    PutVarint(admission.id, &out);
    PutInt(admission.num_prompt_tokens, &out);
    PutInt(admission.max_tokens_total, &out);
    PutSentenceEnds(admission.sentence_ends, &out);
    PutPolicy(admission.policy, &out);
    PutInt(admission.explain_top, &out);
    PutInt(admission.num_slots, &out);
    PutPrefix(admission, &out);
  }
  PutVarint(plan.lookups.size(), &out);
  for (const LookUp& lookup : plan.lookups) {
    PutVarint(lookup.id, &out);
    PutInt(lookup.may_wait, &out);
  }
  PutVarint(plan.forked.size(), &out);
  for (const Fork& fork : plan.forked) {
    PutVarint(fork.child, &out);
    PutVarint(fork.parent, &out);
    PutInt(fork.num_shared_tokens, &out);
    PutInt(fork.max_tokens_total, &out);
  }
  PutVarint(plan.chunks.size(), &out);
  for (const Chunk& chunk : plan.chunks) {
    PutVarint(chunk.id, &out);
    PutInt(chunk.first_position, &out);
    PutInt(chunk.num_tokens, &out);
    PutInt(chunk.position_class == PositionClass::kGenerated, &out);
    PutInt(chunk.sample, &out);
  }
  PutVarint(plan.tokens.size(), &out);
  for (const TokenId token : plan.tokens) PutInt(token, &out);
  return out;
}

absl::StatusOr<StepPlan> Decode(std::string_view bytes) {
  Reader in(bytes);
  StepPlan plan;
  SKV_RETURN_IF_ERROR(in.ReadMagic());
  uint64_t step_idx = 0;
  SKV_RETURN_IF_ERROR(in.ReadVarint(std::numeric_limits<int64_t>::max(), "step_idx", &step_idx));
  plan.step_idx = static_cast<int64_t>(step_idx);
  SKV_RETURN_IF_ERROR(in.ReadBool("shutdown", &plan.shutdown));
  SKV_RETURN_IF_ERROR(in.ReadList(1, "length of released", &plan.released,
                                  [&](SequenceId* id) { return in.ReadId("released id", id); }));
  SKV_RETURN_IF_ERROR(in.ReadList(16, "length of admitted", &plan.admitted,
                                  [&](Admission* entry) { return ReadAdmission(&in, entry); }));
  SKV_RETURN_IF_ERROR(in.ReadList(2, "length of lookups", &plan.lookups,
                                  [&](LookUp* entry) { return ReadLookUp(&in, entry); }));
  SKV_RETURN_IF_ERROR(in.ReadList(4, "length of forked", &plan.forked,
                                  [&](Fork* entry) { return ReadFork(&in, entry); }));
  SKV_RETURN_IF_ERROR(in.ReadList(5, "length of chunks", &plan.chunks,
                                  [&](Chunk* entry) { return ReadChunk(&in, entry); }));
  SKV_RETURN_IF_ERROR(in.ReadList(1, "length of tokens", &plan.tokens, [&](TokenId* token) {
    return in.ReadInt(0, kMaxInt, "token", token);
  }));
  SKV_RETURN_IF_ERROR(CheckTokenCount(plan, in));
  if (!in.at_end()) return in.Error("bytes left over");
  return plan;
}

}  // namespace skv::scheduler
