#include "worker/loader/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/loader/gguf_cursor.h"

namespace skv::loader {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;  // the specification's limit
constexpr uint64_t kMaxTensorNameBytes = 255;
constexpr uint64_t kMaxAlignment = 1 << 20;
constexpr uint64_t kDefaultAlignment = 32;
// The least that an entry takes: key length, type, one byte; name length, number of dimensions, one
// dimension, type, offset.
constexpr uint64_t kMinEntryBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorInfoBytes = 8 + 4 + 8 + 4 + 8;
constexpr uint64_t kMaxElements = uint64_t{1} << 48;  // block bytes times this stay below 2^63

// Types that ggml has and this project does not read, for a better message than their number.
const char* UnsupportedTypeName(uint32_t type) {
  static constexpr std::pair<uint32_t, const char*> kNames[] = {
      {9, "Q8_1"},    {10, "Q2_K"},    {11, "Q3_K"},  {15, "Q8_K"},   {16, "IQ2_XXS"},
      {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
      {22, "IQ2_S"},  {23, "IQ4_XS"},  {24, "I8"},    {25, "I16"},    {26, "I32"},
      {27, "I64"},    {28, "F64"},     {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},
      {39, "MXFP4"}};
  for (const auto& [id, name] : kNames) {
    if (id == type) return name;
  }
  return "unknown";
}

std::string SupportedTypeNames() {
  std::string names;
  for (uint32_t type = 0; type < 64; ++type) {
    if (!kernels::IsKnownQuantType(type)) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ",
                    kernels::QuantTypeName(static_cast<kernels::QuantType>(type)));
  }
  return names;
}

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& file_name)
      : bytes_(bytes), file_name_(file_name), cursor_(bytes, file_name), metadata_(file_name) {}

  absl::StatusOr<GgufContents> Parse() {
    SKV_RETURN_IF_ERROR(ReadHeader());
    for (uint64_t i = 0; i < num_entries_; ++i) SKV_RETURN_IF_ERROR(ReadEntry(i));
    SKV_RETURN_IF_ERROR(ReadAlignment());
    for (uint64_t i = 0; i < num_tensors_; ++i) SKV_RETURN_IF_ERROR(ReadTensorInfo(i));
    SKV_RETURN_IF_ERROR(LocateTensors());
    SKV_RETURN_IF_ERROR(CheckNoOverlap());
    return GgufContents{std::move(metadata_), std::move(tensors_)};
  }

 private:
  absl::Status ReadHeader();
  absl::Status ReadEntry(uint64_t entry_idx);
  absl::StatusOr<GgufType> ReadType(std::string_view what);
  absl::StatusOr<std::span<const std::byte>> ReadElements(GgufType type, uint64_t count,
                                                          std::string_view what);
  absl::Status ReadAlignment();
  absl::Status ReadTensorInfo(uint64_t tensor_idx);
  absl::Status ReadDims(std::string_view what, TensorView* tensor, uint64_t* num_elements);
  absl::Status LocateTensors();
  absl::Status CheckNoOverlap() const;
  absl::Status TensorError(std::string_view name, std::string_view problem) const {
    return absl::DataLossError(
        absl::StrCat(file_name_, ": tensor ", Printable(name), ": ", Sv(problem)));
  }

  const std::span<const std::byte> bytes_;
  const std::string& file_name_;
  GgufCursor cursor_;
  uint64_t num_tensors_ = 0;
  uint64_t num_entries_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  GgufMetadata metadata_;
  std::vector<TensorView> tensors_;
  std::vector<std::pair<uint64_t, uint64_t>> ranges_;  // offset in the data and bytes, per tensor
  std::unordered_set<std::string_view> names_;
};

absl::Status GgufParser::ReadHeader() {
  SKV_ASSIGN_OR_RETURN(const auto magic, cursor_.Take(4, "GGUF magic"));
  const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (text != "GGUF") {
    return absl::DataLossError(absl::StrCat(file_name_, ": starts with \"", Printable(text),
                                            "\", expected \"GGUF\": not a GGUF model file"));
  }
  SKV_ASSIGN_OR_RETURN(const uint32_t version, cursor_.Read<uint32_t>("GGUF version"));
  if (version != 2 && version != 3) {
    const bool is_swapped = (version & 0xFFFFu) == 0 && version != 0;
    return absl::UnimplementedError(
        absl::StrCat(file_name_, ": GGUF version ", version, ", expected 2 or 3",
                     is_swapped ? "; the file is big-endian, convert it to little-endian" : ""));
  }
  SKV_ASSIGN_OR_RETURN(num_tensors_, cursor_.Read<uint64_t>("number of tensors"));
  SKV_ASSIGN_OR_RETURN(num_entries_, cursor_.Read<uint64_t>("number of metadata entries"));
  if (num_entries_ > cursor_.remaining() / kMinEntryBytes) {
    return cursor_.Error(absl::StrCat("number of metadata entries: ", num_entries_,
                                      " do not fit the file's ", bytes_.size(), " bytes"));
  }
  if (num_tensors_ > cursor_.remaining() / kMinTensorInfoBytes) {
    return cursor_.Error(absl::StrCat("number of tensors: ", num_tensors_,
                                      " do not fit the file's ", bytes_.size(), " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufType> GgufParser::ReadType(std::string_view what) {
  SKV_ASSIGN_OR_RETURN(const uint32_t type, cursor_.Read<uint32_t>(what));
  if (type > static_cast<uint32_t>(GgufType::kFloat64)) {
    return cursor_.Error(absl::StrCat(Sv(what), ": value type ", type, ", expected 0 to 12"));
  }
  return static_cast<GgufType>(type);
}

absl::Status GgufParser::ReadEntry(uint64_t entry_idx) {
  SKV_ASSIGN_OR_RETURN(
      const std::string_view key,
      cursor_.ReadString(kMaxKeyBytes, absl::StrCat("key of metadata entry ", entry_idx)));
  const std::string what = absl::StrCat("metadata key ", Printable(key));
  SKV_ASSIGN_OR_RETURN(GgufType type, ReadType(what));
  const bool is_array = type == GgufType::kArray;
  uint64_t count = 1;
  if (is_array) {
    SKV_ASSIGN_OR_RETURN(type, ReadType(what));
    if (type == GgufType::kArray) {
      return cursor_.Error(absl::StrCat(what, ": array of arrays, expected plain elements"));
    }
    SKV_ASSIGN_OR_RETURN(count, cursor_.Read<uint64_t>(what));
  }
  SKV_ASSIGN_OR_RETURN(const auto elements, ReadElements(type, count, what));
  if (!metadata_.Insert(key, GgufValue{type, is_array, count, elements})) {
    return cursor_.Error(absl::StrCat(what, ": is there twice"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::span<const std::byte>> GgufParser::ReadElements(GgufType type, uint64_t count,
                                                                    std::string_view what) {
  const size_t begin = cursor_.position();
  const uint64_t min_bytes = type == GgufType::kString ? sizeof(uint64_t) : GgufTypeBytes(type);
  if (count > cursor_.remaining() / min_bytes) {
    return cursor_.Error(absl::StrCat(Sv(what), ": ", count, " values of ", GgufTypeName(type),
                                      " need at least ", min_bytes, " bytes each, only ",
                                      cursor_.remaining(),
                                      " bytes are left; the file is damaged or was cut off"));
  }
  if (type == GgufType::kString) {
    for (uint64_t i = 0; i < count; ++i) {
      SKV_RETURN_IF_ERROR(cursor_.ReadString(std::numeric_limits<uint64_t>::max(), what).status());
    }
    return bytes_.subspan(begin, cursor_.position() - begin);
  }
  SKV_ASSIGN_OR_RETURN(const auto elements, cursor_.Take(count * min_bytes, what));
  if (type == GgufType::kBool) {
    const auto is_bool = [](std::byte b) { return b == std::byte{0} || b == std::byte{1}; };
    if (!std::all_of(elements.begin(), elements.end(), is_bool)) {
      return cursor_.Error(absl::StrCat(Sv(what), ": a bool is neither 0 nor 1"));
    }
  }
  return elements;
}

absl::Status GgufParser::ReadAlignment() {
  SKV_ASSIGN_OR_RETURN(alignment_, metadata_.UintOr("general.alignment", kDefaultAlignment));
  if (!std::has_single_bit(alignment_) || alignment_ < 8 || alignment_ > kMaxAlignment) {
    return cursor_.Error(absl::StrCat("metadata key general.alignment: is ", alignment_,
                                      ", expected a power of two from 8 to ", kMaxAlignment));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadDims(std::string_view what, TensorView* tensor,
                                  uint64_t* num_elements) {
  SKV_ASSIGN_OR_RETURN(const uint32_t num_dims, cursor_.Read<uint32_t>(what));
  if (num_dims < 1 || num_dims > tensor->dims.size()) {
    return TensorError(tensor->name, absl::StrCat(num_dims, " dimensions, expected 1 to 4"));
  }
  tensor->num_dims = static_cast<int>(num_dims);
  *num_elements = 1;
  for (uint32_t i = 0; i < num_dims; ++i) {
    SKV_ASSIGN_OR_RETURN(const uint64_t dim, cursor_.Read<uint64_t>(what));
    if (dim == 0 || dim > kMaxElements / *num_elements) {
      return TensorError(tensor->name,
                         absl::StrCat("dimension ", i, " is ", dim, ", which makes ",
                                      dim == 0 ? "no elements" : "more than 2^48 elements"));
    }
    *num_elements *= dim;
    tensor->dims[i] = static_cast<int64_t>(dim);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ReadTensorInfo(uint64_t tensor_idx) {
  TensorView tensor;
  SKV_ASSIGN_OR_RETURN(
      tensor.name,
      cursor_.ReadString(kMaxTensorNameBytes, absl::StrCat("name of tensor ", tensor_idx)));
  if (tensor.name.empty()) return cursor_.Error(absl::StrCat("tensor ", tensor_idx, ": no name"));
  if (!names_.insert(tensor.name).second) return TensorError(tensor.name, "is there twice");
  const std::string what = absl::StrCat("tensor ", Printable(tensor.name));
  uint64_t num_elements = 0;
  SKV_RETURN_IF_ERROR(ReadDims(what, &tensor, &num_elements));
  SKV_ASSIGN_OR_RETURN(const uint32_t type, cursor_.Read<uint32_t>(what));
  if (!kernels::IsKnownQuantType(type)) {
    return absl::UnimplementedError(absl::StrCat(file_name_, ": tensor ", Printable(tensor.name),
                                                 ": type ", UnsupportedTypeName(type), " (", type,
                                                 "), expected one of ", SupportedTypeNames(),
                                                 "; use a file quantised to one of these"));
  }
  tensor.type = static_cast<kernels::QuantType>(type);
  const int block_elements = kernels::BlockElements(tensor.type);
  if (tensor.dims[0] % block_elements != 0) {
    return TensorError(tensor.name,
                       absl::StrCat("rows of ", tensor.dims[0], " values, expected a multiple of ",
                                    block_elements, " for ", kernels::QuantTypeName(tensor.type)));
  }
  SKV_ASSIGN_OR_RETURN(const uint64_t offset, cursor_.Read<uint64_t>(what));
  if (offset % alignment_ != 0) {
    return TensorError(tensor.name, absl::StrCat("offset ", offset, ", expected a multiple of ",
                                                 alignment_, " (general.alignment)"));
  }
  ranges_.emplace_back(offset, num_elements / block_elements * kernels::BlockBytes(tensor.type));
  tensors_.push_back(tensor);
  return absl::OkStatus();
}

absl::Status GgufParser::LocateTensors() {
  const uint64_t data_begin = (cursor_.position() + alignment_ - 1) / alignment_ * alignment_;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto [offset, num_bytes] = ranges_[i];
    // Bytes that the tensor may start or end at, counted so that no sum overflows.
    const uint64_t data_bytes = bytes_.size() < data_begin ? 0 : bytes_.size() - data_begin;
    if (num_bytes > data_bytes || offset > data_bytes - num_bytes) {
      return TensorError(
          tensors_[i].name,
          absl::StrCat("needs ", num_bytes, " bytes at ", offset, " after byte ", data_begin,
                       ", file has ", bytes_.size(), "; it is damaged or was cut off"));
    }
    tensors_[i].data = bytes_.subspan(data_begin + offset, num_bytes);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::CheckNoOverlap() const {
  std::vector<size_t> order(tensors_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [this](size_t a, size_t b) { return ranges_[a] < ranges_[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    const auto& [previous_offset, previous_bytes] = ranges_[order[i - 1]];
    if (previous_offset + previous_bytes > ranges_[order[i]].first) {
      return TensorError(tensors_[order[i]].name,
                         absl::StrCat("offset ", ranges_[order[i]].first, " lies inside tensor ",
                                      Printable(tensors_[order[i - 1]].name), ", which ends at ",
                                      previous_offset + previous_bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufContents> ParseGguf(std::span<const std::byte> bytes,
                                       const std::string& file_name) {
  if (bytes.empty()) {
    return absl::DataLossError(absl::StrCat(file_name, ": is empty, expected a GGUF model file"));
  }
  return GgufParser(bytes, file_name).Parse();
}

}  // namespace skv::loader
