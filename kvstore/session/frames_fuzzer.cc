// Every byte string is either refused with InvalidArgument or decodes to a frame that encodes to
// the very same bytes. Seeds: tests/fuzz/write_session_frames_corpus.py; found_* are the fuzzer's
// inputs that reached new code.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kvstore/session/frames.h"

namespace skv::kvstore {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Check(std::string_view bytes) {
  const auto frame = DecodeFrame(bytes);
  if (!frame.ok()) {
    Require(frame.status().code() == absl::StatusCode::kInvalidArgument);
    return;
  }
  const auto again = EncodeFrame(*frame);
  Require(again.ok() && *again == bytes && bytes.size() <= kMaxFrameBytes);
}

}  // namespace
}  // namespace skv::kvstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skv::kvstore::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
