// What a store on one thread does for clients over real sockets. Chains of 400 keys, of which 360
// are there; each client has a request in flight beside the one it reads: it releases the lease
// of its last Get and asks for the next.
//
//   items_per_second     blocks leased and released, all clients together
//   blocks_per_store_s   the same for each second of processor time of the store's thread

#include <pthread.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "common/log.h"
#include "kvstore/arena/arena.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/server/session_server.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::kvstore {
namespace {

constexpr int kChainLength = 400;
constexpr int kNumHits = 360;
constexpr int kNumChains = 64;
constexpr uint64_t kArenaBytes = uint64_t{64} << 20;

// A store, and chains in it whose last tenth is missing.
class LiveServer {
 public:
  LiveServer() {
    arena_ = Arena::Create({.num_bytes = kArenaBytes}, RealClock()).value();
    BlockStoreOptions options;
    options.index.capacity_bytes = static_cast<int64_t>(arena_->num_bytes());
    store_ = std::make_unique<BlockStore>(options, CreateS3FifoOrder(options.index.order()),
                                          arena_->Bytes(0, arena_->num_bytes()));
    SessionServerOptions server;
    server.arena_fd = arena_->fd();
    server.handler.arena_bytes = arena_->num_bytes();
    server_ = SessionServer::Create(server, SessionListener::Listen(path_).value(), store_.get(),
                                    &status_)
                  .value();
    thread_ = std::thread([this] { SKV_CHECK(server_->Run().ok()); });
    StoreChains();
  }
  ~LiveServer() {
    server_->Stop();
    thread_.join();
  }
  LiveServer(const LiveServer&) = delete;
  LiveServer& operator=(const LiveServer&) = delete;

  double CpuSeconds() {
    clockid_t clock = {};
    timespec time = {};
    SKV_CHECK(pthread_getcpuclockid(thread_.native_handle(), &clock) == 0);
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  const std::string& path() const { return path_; }
  const std::vector<PrefixKey>& keys(int chain) const { return keys_[chain]; }

 private:
  void StoreChains() {
    TestClient client(path_);
    for (int i = 0; i < kNumChains; ++i) {
      const std::vector<Sentence> chain = MakeChain(i * kChainLength, kChainLength);
      keys_.push_back(KeysOf(chain));
      for (int j = 0; j < kNumHits; ++j) {
        SKV_CHECK(client.Release(client.Store(chain[j])->lease) == absl::StatusCode::kOk);
      }
    }
  }

  const std::string path_ = absl::StrCat("/tmp/skv_server_benchmark_", getpid());
  ServerStatus status_{&RealClock()};
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<SessionServer> server_;
  std::thread thread_;
  std::vector<std::vector<PrefixKey>> keys_;  // by chain
};

// Of a Get reply as it lies in the packet (docs/formats/session.md): behind kind, id and code.
LeaseHandle LeaseIn(std::string_view reply) {
  LeaseHandle lease = LeaseHandle::kNone;
  std::memcpy(&lease, reply.data() + 16, sizeof(lease));
  SKV_CHECK(reply.size() == 28 + kNumHits * 16);
  return lease;
}

void LeaseAndReleaseChains(benchmark::State& bench_state) {
  static std::unique_ptr<LiveServer> server;
  static double begin_seconds = 0;
  if (bench_state.thread_index() == 0) {
    server = std::make_unique<LiveServer>();
    begin_seconds = server->CpuSeconds();
  }
  std::unique_ptr<TestClient> client;
  std::vector<std::string> gets;
  auto buffer = std::make_unique<FrameBuffer>();
  LeaseHandle lease = LeaseHandle::kNone;
  int turn = 0;
  const TimePoint deadline = RealClock().Now() + std::chrono::hours(1);
  for (auto _ : bench_state) {
    if (client == nullptr) {  // all threads are here: the server is up
      client = std::make_unique<TestClient>(server->path());
      for (int i = 0; i < kNumChains; ++i) {
        gets.push_back(EncodeFrame({1, Get{server->keys(i)}}).value());
      }
    }
    SKV_CHECK(client->socket().Send(gets[turn++ % kNumChains], deadline).ok());
    if (lease != LeaseHandle::kNone) {
      SKV_CHECK(client->socket().Send(EncodeFrame({2, Release{{lease}}}).value(), deadline).ok());
    }
    const LeaseHandle last = lease;
    lease = LeaseIn(client->socket().Receive(*buffer, deadline).value());
    if (last != LeaseHandle::kNone) {
      SKV_CHECK(client->socket().Receive(*buffer, deadline).ok());
    }
  }
  bench_state.SetItemsProcessed(bench_state.iterations() * kNumHits);
  if (bench_state.thread_index() == 0) {
    const double seconds = server->CpuSeconds() - begin_seconds;
    bench_state.counters["blocks_per_store_s"] =
        static_cast<double>(bench_state.iterations() * bench_state.threads() * kNumHits) / seconds;
    client.reset();
    server.reset();
  }
}
BENCHMARK(LeaseAndReleaseChains)->Threads(1)->Threads(2)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace skv::kvstore
