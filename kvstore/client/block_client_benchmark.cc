// What a prompt of 400 sentences of 20 tokens, 23,040 bytes each (184 MB), costs its worker: to
// lease when it is new to the client and all checksums are compared, to lease when it is held
// already, and to create and seal, payloads not written. Argument: 0 in this process, 1 over a
// session with a store in another thread.

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "benchmark/benchmark.h"
#include "common/log.h"
#include "kvstore/client/in_process_block_client.h"
#include "kvstore/client/session_block_client.h"
#include "kvstore/client/testing/fake_kvstore.h"
#include "kvstore/client/testing/test_chain.h"

namespace skv::kvstore {
namespace {

constexpr int kNumSentences = 400;
constexpr uint64_t kPayloadBytes = uint64_t{20} * 23040;
constexpr uint64_t kArenaBytes = uint64_t{256} << 20;

class Setup {
 public:
  explicit Setup(bool is_session) {
    if (!is_session) {
      client = CreateInProcessBlockClient({.capacity_bytes = kArenaBytes}).value();
      return;
    }
    char name[] = "/tmp/skv_client_XXXXXX";
    SKV_CHECK(mkdtemp(name) != nullptr);
    folder_ = name;
    store_ = std::make_unique<FakeKvstore>(
        folder_ + "/s", FakeKvstoreOptions{.arena_bytes = kArenaBytes, .root = kTestRoot});
    client = ConnectSessionBlockClient(folder_ + "/s", {.client_name = "bench"}, Soon()).value();
  }
  ~Setup() {
    client.reset();
    store_.reset();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  const TestChain chain = MakeChain(1, kNumSentences, kPayloadBytes);
  std::unique_ptr<BlockClient> client;

 private:
  std::string folder_;
  std::unique_ptr<FakeKvstore> store_;
};

void SetBytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * kNumSentences * static_cast<int64_t>(kPayloadBytes));
}

void GetNew(benchmark::State& state) {
  Setup setup(state.range(0) != 0);
  Store(*setup.client, setup.chain).clear();
  for (auto iteration : state) {
    const LeasedChain chain = setup.client->Get(setup.chain.keys, Soon()).value();
    SKV_CHECK(chain.size() == kNumSentences);
  }
  SetBytes(state);
}

void GetHeld(benchmark::State& state) {
  Setup setup(state.range(0) != 0);
  const std::vector<SealedBlock> held = Store(*setup.client, setup.chain);
  for (auto iteration : state) {
    const LeasedChain chain = setup.client->Get(setup.chain.keys, Soon()).value();
    SKV_CHECK(chain.size() == kNumSentences);
  }
}

// Each prompt evicts the one before.
void CreateAndSeal(benchmark::State& state) {
  Setup setup(state.range(0) != 0);
  Store(*setup.client, setup.chain).clear();
  int number = 1;
  for (auto iteration : state) {
    state.PauseTiming();
    const TestChain chain = MakeChain(++number, kNumSentences, kPayloadBytes);
    state.ResumeTiming();
    std::vector<WritableBlock> blocks;
    for (auto& creation : setup.client->Create(chain.sentences, Soon())) {
      blocks.push_back(std::move(creation.value().block));
    }
    for (const auto& sealed : setup.client->Seal(std::move(blocks), true, Soon())) {
      SKV_CHECK(sealed.ok()) << sealed.status().ToString();
    }
  }
  SetBytes(state);
}

BENCHMARK(GetNew)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);
BENCHMARK(GetHeld)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);
BENCHMARK(CreateAndSeal)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace skv::kvstore
