#pragma once
// Least recently used goes first; within one use of a chain, what is deeper. For comparison with
// S3-FIFO.

#include <memory>

#include "kvstore/index/eviction_order.h"

namespace skv::kvstore {

std::unique_ptr<EvictionOrder> CreateLruOrder(const OrderOptions& options);

}  // namespace skv::kvstore
