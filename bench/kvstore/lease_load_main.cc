// skv-bench-lease-load: a client that leases chains of blocks from a skv-kvstore and releases them,
// as fast as it can. Prints one JSON object.

#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/flags.h"
#include "common/log.h"
#include "kvstore/client/session_block_client.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::bench {
namespace {

using kvstore::LeaseHandle;

constexpr int kChainLength = 400;
constexpr int kNumHits = 360;  // the last tenth of each chain is missing
constexpr int kNumChains = 64;

struct Options {
  std::string socket;
  std::string client = "frames";
  double seconds = 5;
  bool store = false;
};

std::vector<kvstore::Sentence> ChainOf(int number) {
  return kvstore::MakeChain(number * kChainLength, kChainLength);
}

void StoreChains(const std::string& path) {
  kvstore::TestClient client(path);
  for (int i = 0; i < kNumChains; ++i) {
    const std::vector<kvstore::Sentence> chain = ChainOf(i);
    for (int j = 0; j < kNumHits; ++j) {
      SKV_CHECK(client.Release(client.Store(chain[j])->lease) == absl::StatusCode::kOk);
    }
  }
}

class Client {
 public:
  virtual ~Client() = default;
  // Asks for the next chain; the one before is released by then, or along with it.
  virtual void LeaseNext() = 0;
};

// The session's frames, prepared and hardly looked at: what is left is the kernel's and the store's
// work. The release of a chain is sent behind the request for the next.
class FrameClient : public Client {
 public:
  explicit FrameClient(const std::string& path) : client_(path) {
    for (int i = 0; i < kNumChains; ++i) {
      gets_.push_back(kvstore::EncodeFrame({1, kvstore::Get{KeysOf(ChainOf(i))}}).value());
    }
  }

  void LeaseNext() override {
    Send(gets_[turn_++ % kNumChains]);
    const LeaseHandle last = lease_;
    if (last != LeaseHandle::kNone)
      Send(kvstore::EncodeFrame({2, kvstore::Release{{last}}}).value());
    lease_ = LeaseIn(client_.socket().Receive(*buffer_, kDeadline).value());
    if (last == LeaseHandle::kNone) return;
    SKV_CHECK(client_.socket().Receive(*buffer_, kDeadline).ok());
  }

 private:
  static constexpr TimePoint kDeadline = TimePoint::max();

  void Send(std::string_view frame) { SKV_CHECK(client_.socket().Send(frame, kDeadline).ok()); }
  // Of a Get reply as it lies in the packet (docs/formats/session.md): behind kind, id and code.
  static LeaseHandle LeaseIn(std::string_view reply) {
    SKV_CHECK(reply.size() == 28 + kNumHits * 16);
    LeaseHandle lease = LeaseHandle::kNone;
    std::memcpy(&lease, reply.data() + 16, sizeof(lease));
    return lease;
  }

  kvstore::TestClient client_;
  std::vector<std::string> gets_;
  const std::unique_ptr<kvstore::FrameBuffer> buffer_ = std::make_unique<kvstore::FrameBuffer>();
  LeaseHandle lease_ = LeaseHandle::kNone;
  int turn_ = 0;
};

// What a worker has: frames are decoded, and blocks looked at in the arena. All chains are held by
// a lease of their own, so no payload is compared with its checksum again.
class WorkerClient : public Client {
 public:
  explicit WorkerClient(const std::string& path)
      : client_(
            kvstore::ConnectSessionBlockClient(path, {.client_name = "bench"}, Soon()).value()) {
    for (int i = 0; i < kNumChains; ++i) {
      keys_.push_back(KeysOf(ChainOf(i)));
      held_.push_back(client_->Get(keys_.back(), Soon()).value());
    }
  }

  void LeaseNext() override {
    chain_ = client_->Get(keys_[turn_++ % kNumChains], Soon()).value();
    SKV_CHECK(chain_.size() == kNumHits);
  }

 private:
  static TimePoint Soon() { return RealClock().Now() + std::chrono::seconds(20); }

  const std::unique_ptr<kvstore::BlockClient> client_;
  std::vector<std::vector<PrefixKey>> keys_;
  std::vector<kvstore::LeasedChain> held_;
  kvstore::LeasedChain chain_;
  int turn_ = 0;
};

nlohmann::json Measure(Client* client, double seconds) {
  std::cout << "ready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  const TimePoint begin = RealClock().Now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(RealClock().Now() - begin).count();
  };
  int64_t num_chains = 0;
  for (; elapsed() < seconds; ++num_chains) client->LeaseNext();
  return {{"blocks", num_chains * kNumHits}, {"seconds", elapsed()}};
}

int Main(int argc, char** argv) {
  Options options;
  Flags flags("skv-bench-lease-load",
              "Leases and releases chains of 400 keys, of which 360 are there; says ready, and "
              "begins when a line comes in");
  flags.Add("socket", &options.socket, "The store's");
  flags.Require("socket");
  flags.Add("store", &options.store, "Only writes the 64 chains");
  flags.AddChoice("client", &options.client, {"frames", "worker"},
                  "Prepared frames, or the client that workers have");
  flags.Add("seconds", &options.seconds, RealRange{0.01, 3600}, "How long");
  flags.SetExamples(
      "  skv-bench-lease-load --socket s --store && echo | skv-bench-lease-load --socket s");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  if (options.store) {
    StoreChains(options.socket);
    return 0;
  }
  std::unique_ptr<Client> client;
  if (options.client == "frames") {
    client = std::make_unique<FrameClient>(options.socket);
  } else {
    client = std::make_unique<WorkerClient>(options.socket);
  }
  std::cout << Measure(client.get(), options.seconds) << std::endl;
  return 0;
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
