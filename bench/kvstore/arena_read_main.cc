// skv-bench-arena-read: how fast leased blocks are read where they lie. Prints one JSON object.
//
// Fills a store with blocks of sentences of 23,040 bytes a token, leases all, and copies them out,
// block after block in a random order; in turns with that, copies as many bytes of ordinary memory
// by one memcpy to the same place.

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/flags.h"
#include "common/log.h"
#include "kvstore/block/block_header.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::bench {
namespace {

constexpr uint64_t kTokenBytes = 23040;  // K and V of SmolLM2-135M in bf16 on one of two ranks

using Bytes = std::span<std::byte>;

// Pages are there, and large where the machine gives such to anyone who asks for memory.
class OrdinaryMemory {
 public:
  explicit OrdinaryMemory(uint64_t num_bytes) {
    void* data =
        mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SKV_CHECK(data != MAP_FAILED);
    bytes = {static_cast<std::byte*>(data), num_bytes};
    std::memset(data, 1, num_bytes);
  }
  ~OrdinaryMemory() { munmap(bytes.data(), bytes.size()); }
  OrdinaryMemory(const OrdinaryMemory&) = delete;
  OrdinaryMemory& operator=(const OrdinaryMemory&) = delete;

  Bytes bytes;
};

// Blocks until the store is full; the client holds all.
std::vector<Bytes> FillStore(kvstore::TestClient* client, uint64_t num_bytes,
                             std::mt19937_64* random) {
  std::vector<Bytes> payloads;
  std::lognormal_distribution<double> tokens(std::log(17.0), 0.6);
  uint64_t stored = 0;
  for (int i = 0; stored < num_bytes; ++i) {
    const uint64_t payload_bytes =
        kTokenBytes * std::clamp(static_cast<int>(tokens(*random)), 4, kvstore::kMaxBlockTokens);
    const auto block = client->Store(kvstore::MakeSentence(i, nullptr, payload_bytes));
    SKV_CHECK(block.has_value()) << "the arena has less than twice --mebibytes";
    payloads.push_back(
        client->PlaceOf(block->range).subspan(kvstore::HeaderBytes(1), payload_bytes));
    stored += payload_bytes;
  }
  return payloads;
}

template <typename Copy>
double BytesPerSecond(uint64_t num_bytes, Copy copy) {
  const TimePoint begin = RealClock().Now();
  copy();
  return static_cast<double>(num_bytes) /
         std::chrono::duration<double>(RealClock().Now() - begin).count();
}

nlohmann::json Measure(const std::string& socket, uint64_t at_least, int rounds, uint64_t seed) {
  std::mt19937_64 random(seed);
  kvstore::TestClient client(socket);
  std::vector<Bytes> payloads = FillStore(&client, at_least, &random);
  uint64_t num_bytes = 0;
  for (const Bytes payload : payloads) num_bytes += payload.size();
  const OrdinaryMemory source(num_bytes), target(num_bytes);
  const auto copy_blocks = [&] {
    std::byte* to = target.bytes.data();
    for (const Bytes payload : payloads) {
      std::memcpy(to, payload.data(), payload.size());
      to += payload.size();
    }
  };
  const auto copy_whole = [&] { std::memcpy(target.bytes.data(), source.bytes.data(), num_bytes); };
  nlohmann::json pairs = nlohmann::json::array();
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(payloads.begin(), payloads.end(), random);
    double blocks = 0, whole = 0;
    if (round % 2 == 0) blocks = BytesPerSecond(num_bytes, copy_blocks);
    whole = BytesPerSecond(num_bytes, copy_whole);
    if (round % 2 == 1) blocks = BytesPerSecond(num_bytes, copy_blocks);
    pairs.push_back({blocks, whole});
  }
  return {{"blocks", payloads.size()}, {"bytes", num_bytes}, {"bytes_per_second", pairs}};
}

int Main(int argc, char** argv) {
  std::string socket;
  int mebibytes = 1024, rounds = 20;
  int64_t seed = 1;
  Flags flags("skv-bench-arena-read",
              "Copies leased blocks out of the arena in random order, and as much ordinary memory "
              "by memcpy");
  flags.Add("socket", &socket, "Of a store that holds nothing, and has room for --mebibytes");
  flags.Require("socket");
  flags.Add("mebibytes", &mebibytes, IntRange{1, 1 << 20}, "Blocks to lease, all together");
  flags.Add("rounds", &rounds, IntRange{1, 10000}, "Times that either is copied, in turns");
  flags.Add("seed", &seed, IntRange{0, INT64_MAX}, "Of sizes and orders");
  flags.SetExamples("  skv-bench-arena-read --socket s --mebibytes 512");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  std::cout << Measure(socket, static_cast<uint64_t>(mebibytes) << 20, rounds,
                       static_cast<uint64_t>(seed))
            << std::endl;
  return 0;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
