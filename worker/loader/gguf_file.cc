#include "worker/loader/gguf_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::loader {
namespace {

absl::Status OpenError(const std::string& path, int error) {
  const std::string message =
      absl::StrCat("cannot open model file ", path, ": ", std::strerror(error));
  if (error != ENOENT) return absl::InvalidArgumentError(message);
  return absl::NotFoundError(absl::StrCat(message, "; `skv model fetch` gets the default one"));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// A read-only mapping of the whole file; empty for an empty file.
absl::StatusOr<std::span<const std::byte>> MapFile(const std::string& path) {
  const FileDescriptor fd(path);
  if (fd.get() < 0) return OpenError(path, errno);
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return OpenError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot open model file ", path, ": is not a regular file"));
  }
  const auto num_bytes = static_cast<size_t>(info.st_size);
  if (num_bytes == 0) return std::span<const std::byte>();
  void* data = mmap(nullptr, num_bytes, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return OpenError(path, errno);
  return std::span(static_cast<const std::byte*>(data), num_bytes);
}

void Unmap(std::span<const std::byte> bytes) {
  if (!bytes.empty()) munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  SKV_ASSIGN_OR_RETURN(const auto bytes, MapFile(path));
  const std::string name = std::filesystem::path(path).filename().string();
  absl::StatusOr<GgufContents> contents = ParseGguf(bytes, name);
  if (!contents.ok()) {
    Unmap(bytes);
    return contents.status();
  }
  return std::unique_ptr<GgufFile>(new GgufFile(bytes, name, true, *std::move(contents)));
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Parse(std::span<const std::byte> bytes,
                                                          const std::string& name) {
  SKV_ASSIGN_OR_RETURN(GgufContents contents, ParseGguf(bytes, name));
  return std::unique_ptr<GgufFile>(new GgufFile(bytes, name, false, std::move(contents)));
}

GgufFile::GgufFile(std::span<const std::byte> bytes, std::string name, bool is_mapped,
                   GgufContents contents)
    : bytes_(bytes), name_(std::move(name)), is_mapped_(is_mapped), contents_(std::move(contents)) {
  for (size_t i = 0; i < contents_.tensors.size(); ++i) {
    tensor_idx_.emplace(contents_.tensors[i].name, i);
  }
}

GgufFile::~GgufFile() {
  if (is_mapped_) Unmap(bytes_);
}

const TensorView* GgufFile::FindTensor(std::string_view name) const {
  const auto it = tensor_idx_.find(name);
  return it == tensor_idx_.end() ? nullptr : &contents_.tensors[it->second];
}

void GgufFile::DropPages(std::span<const std::byte> part) const {
  if (!is_mapped_ || part.empty()) return;
  // Pages shared with a neighbour go too: they come back from the page cache when touched.
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = static_cast<size_t>(part.data() - bytes_.data()) / page_bytes * page_bytes;
  const size_t end = static_cast<size_t>(part.data() - bytes_.data()) + part.size();
  madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace skv::loader
