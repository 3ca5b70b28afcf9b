#include "kvstore/client/mapped_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/testing/status_matchers.h"
#include "gtest/gtest.h"
#include "kvstore/session/descriptor.h"

namespace skv::kvstore {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

Descriptor Memfd(off_t num_bytes, int seals) {
  Descriptor memory(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(memory.get(), num_bytes), 0);
  EXPECT_EQ(fcntl(memory.get(), F_ADD_SEALS, seals), 0);
  return memory;
}

TEST(MappedMemoryTest, AnArenaIsTheSameMemoryForAllWhoMapIt) {
  Descriptor memory = Memfd(4096, F_SEAL_SHRINK);
  ASSERT_OK_AND_ASSIGN(const MappedMemory first, MappedMemory::OfArena(memory.get(), 4096));
  ASSERT_OK_AND_ASSIGN(const MappedMemory second, MappedMemory::OfArena(memory.get(), 4096));
  memory.Reset();
  ASSERT_EQ(first.bytes().size(), 4096u);
  first.bytes()[100] = std::byte{7};
  EXPECT_EQ(second.bytes()[100], std::byte{7});
}

TEST(MappedMemoryTest, WhatIsNotSafeToMapIsRefused) {
  const auto refused = [](const Descriptor& memory, uint64_t num_bytes, const char* message) {
    SCOPED_TRACE(message);
    EXPECT_THAT(MappedMemory::OfArena(memory.get(), num_bytes).status(),
                StatusIs(StatusCode::kFailedPrecondition, HasSubstr(message)));
  };
  refused(Memfd(4096, 0), 4096, "has seals 0, expected F_SEAL_SHRINK");
  refused(Memfd(4096, F_SEAL_GROW), 4096, "expected F_SEAL_SHRINK");
  refused(Memfd(4096, F_SEAL_SHRINK), 8192, "has 4096 bytes, expected 8192");
  refused(Memfd(8192, F_SEAL_SHRINK), 4096, "has 8192 bytes, expected 4096");
  refused(Memfd(4096, F_SEAL_SHRINK | F_SEAL_WRITE), 4096, "cannot map 4096 bytes");
  refused(Descriptor(open("/dev/zero", O_RDWR | O_CLOEXEC)), 4096, "is no memfd");
  refused(Descriptor(), 4096, "is no memfd");
}

TEST(MappedMemoryTest, AnonymousMemoryIsZerosAndMayBeRefused) {
  ASSERT_OK_AND_ASSIGN(const MappedMemory memory, MappedMemory::Anonymous(4096));
  EXPECT_EQ(memory.bytes()[4095], std::byte{0});
  EXPECT_THAT(MappedMemory::Anonymous(uint64_t{1} << 60).status(),
              StatusIs(StatusCode::kResourceExhausted, HasSubstr("cannot map")));
}

}  // namespace
}  // namespace skv::kvstore
