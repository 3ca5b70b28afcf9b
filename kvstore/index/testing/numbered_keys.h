#pragma once
// Names for entries in tests of the entry table.

#include "kvstore/index/entry_key.h"

namespace skv::kvstore {

inline EntryKey KeyOfNumber(uint32_t number) {
  EntryKey key;
  std::memcpy(key.prefix.bytes.data(), &number, sizeof number);
  return key;
}

}  // namespace skv::kvstore
