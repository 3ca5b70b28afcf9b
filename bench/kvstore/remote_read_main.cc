// skv-bench-remote-read: how fast blocks come from another host's store, and as many bytes through
// a bare TCP connection. Three of it make a measurement (tools/rows/C.store): one fills a store,
// one sends bytes beside the store, one reads from both in turns and prints one JSON object.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/log.h"
#include "kvstore/block/block_header.h"
#include "kvstore/peer/peer_tier.h"
#include "kvstore/server/testing/test_client.h"

namespace skv::bench {
namespace {

using kvstore::Sentence;

constexpr uint64_t kTokenBytes = 23040;  // K and V of SmolLM2-135M in bf16 on one of two ranks
constexpr int kChainLength = 64;         // blocks of one call
constexpr size_t kWriteBytes = 4 << 20;
constexpr size_t kReadBytes = 1 << 20;
constexpr Duration kCallTime = std::chrono::seconds(10);

struct Options {
  std::string mode = "read";
  std::string socket;
  std::string host = "127.0.0.1";
  int store_port = 0;
  int raw_port = 0;
  int num_chains = 20;
  int rounds = 10;
  int64_t seed = 1;
};

// Of numbered chains; only what fills the store needs the sizes.
std::vector<Sentence> ChainOf(int number, std::mt19937_64* random) {
  std::lognormal_distribution<double> tokens(std::log(17.0), 0.6);
  std::vector<Sentence> chain;
  for (int i = 0; i < kChainLength; ++i) {
    const int num_tokens =
        std::clamp(static_cast<int>(tokens(*random)), 4, kvstore::kMaxBlockTokens);
    const Sentence sentence = kvstore::MakeSentence(
        number * kChainLength + i, i == 0 ? nullptr : &chain.back(), kTokenBytes * num_tokens);
    chain.push_back(sentence);
  }
  return chain;
}

int Fill(const Options& options) {
  std::mt19937_64 random(static_cast<uint64_t>(options.seed));
  kvstore::TestClient client(options.socket);
  for (int i = 0; i < options.num_chains; ++i) {
    for (const Sentence& sentence : ChainOf(i, &random)) {
      const auto stored = client.Store(sentence);
      SKV_CHECK(stored.has_value()) << "the arena has no room for --chains";
      SKV_CHECK(client.Release(stored->lease) == absl::StatusCode::kOk);
    }
  }
  return 0;
}

sockaddr_in AddressOf(const std::string& host, int port) {
  sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  SKV_CHECK(inet_pton(AF_INET, host.c_str(), &address.sin_addr) == 1);
  return address;
}

// Writes as many bytes as each eight of the other side's ask for, from memory that is read in order
// like the blocks.
int Send(const Options& options) {
  const std::vector<char> memory(512 << 20, 1);
  const sockaddr_in address = AddressOf(options.host, options.raw_port);
  const int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  SKV_CHECK(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  SKV_CHECK(listen(listener, 1) == 0);
  std::cout << "ready" << std::endl;
  const int connection = accept(listener, nullptr, nullptr);
  uint64_t num_left = 0;
  while (read(connection, &num_left, sizeof(num_left)) == sizeof(num_left)) {
    for (size_t offset = 0; num_left > 0;) {
      const size_t num_bytes =
          std::min({num_left, uint64_t{kWriteBytes}, uint64_t{memory.size() - offset}});
      const ssize_t written = write(connection, memory.data() + offset, num_bytes);
      SKV_CHECK(written > 0);
      num_left -= static_cast<size_t>(written);
      offset = (offset + static_cast<size_t>(written)) % memory.size();
    }
  }
  return 0;
}

class RawConnection {
 public:
  RawConnection(const std::string& host, int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const sockaddr_in address = AddressOf(host, port);
    SKV_CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~RawConnection() { close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  void Read(uint64_t num_bytes) {
    SKV_CHECK(write(fd_, &num_bytes, sizeof(num_bytes)) == sizeof(num_bytes));
    while (num_bytes > 0) {
      const ssize_t got = read(fd_, buffer_.data(), std::min(num_bytes, buffer_.size()));
      SKV_CHECK(got > 0);
      num_bytes -= static_cast<uint64_t>(got);
    }
  }

 private:
  const int fd_;
  std::vector<char> buffer_ = std::vector<char>(kReadBytes);
};

class StoreReader {
 public:
  explicit StoreReader(const Options& options)
      : tier_(kvstore::OpenPeerTier(absl::StrCat(options.host, ":", options.store_port)).value()) {
    std::mt19937_64 random(static_cast<uint64_t>(options.seed));
    for (int i = 0; i < options.num_chains; ++i) {
      std::vector<kvstore::TierKey>& keys = chains_.emplace_back();
      for (const Sentence& sentence : ChainOf(i, &random)) {
        keys.push_back({{sentence.item.key, kvstore::TestHello().layout}, 0});
      }
    }
  }

  // Headers are parsed; payloads are compared with their checksums where `are_checked`. Returns how
  // many bytes came.
  uint64_t Read(bool are_checked) {
    uint64_t num_bytes = 0;
    for (const std::vector<kvstore::TierKey>& keys : chains_) {
      const auto values = tier_->Get(keys, RealClock().Now() + kCallTime);
      SKV_CHECK(values.ok()) << values.status().ToString();
      for (const absl::StatusOr<kvstore::TierValue>& value : *values) {
        SKV_CHECK(value.ok()) << value.status().ToString();
        const absl::Status checked = are_checked
                                         ? kvstore::ParseBlock(value->bytes, "peer").status()
                                         : kvstore::ParseBlockHeader(value->bytes, "peer").status();
        SKV_CHECK(checked.ok()) << checked.ToString();
        num_bytes += value->bytes.size();
      }
    }
    return num_bytes;
  }

 private:
  const std::unique_ptr<kvstore::Tier> tier_;
  std::vector<std::vector<kvstore::TierKey>> chains_;
};

int Read(const Options& options) {
  StoreReader store(options);
  RawConnection raw(options.host, options.raw_port);
  const uint64_t num_bytes = store.Read(/*are_checked=*/true);
  const auto rate = [num_bytes](const auto& read) {
    const TimePoint begin = RealClock().Now();
    read();
    return static_cast<double>(num_bytes) / ToSeconds(RealClock().Now() - begin);
  };
  raw.Read(num_bytes);
  nlohmann::json rounds = nlohmann::json::array();
  for (int round = 0; round < options.rounds; ++round) {
    double plain = 0;
    if (round % 2 == 0) plain = rate([&] { raw.Read(num_bytes); });
    const double blocks = rate([&] { store.Read(/*are_checked=*/false); });
    const double checked = rate([&] { store.Read(/*are_checked=*/true); });
    if (round % 2 == 1) plain = rate([&] { raw.Read(num_bytes); });
    rounds.push_back({blocks, checked, plain});
  }
  std::cout << nlohmann::json{{"bytes", num_bytes}, {"bytes_per_second", rounds}} << std::endl;
  return 0;
}

int Main(int argc, char** argv) {
  Options options;
  Flags flags("skv-bench-remote-read",
              "Reads blocks from another host's store, and as many bytes through a TCP connection");
  flags.AddChoice("mode", &options.mode, {"fill", "send", "read"},
                  "Fill the store at --socket; send bytes at --host and --raw-port; or read both");
  flags.Add("socket", &options.socket, "Of a store that holds nothing");
  flags.Add("host", &options.host, "Numeric address of the store and of who sends");
  flags.Add("store-port", &options.store_port, IntRange{0, 65535}, "gRPC port of the store");
  flags.Add("raw-port", &options.raw_port, IntRange{0, 65535}, "Port of who sends");
  flags.Add("chains", &options.num_chains, IntRange{1, 1 << 16}, "Of 64 blocks, about 26 MB each");
  flags.Add("rounds", &options.rounds, IntRange{1, 10000}, "Times that all chains are read");
  flags.Add("seed", &options.seed, IntRange{0, INT64_MAX}, "Of sizes");
  flags.SetExamples(
      "  skv-bench-remote-read --mode fill --socket s\n"
      "  skv-bench-remote-read --mode send --host 10.0.0.1 --raw-port 9401\n"
      "  skv-bench-remote-read --host 10.0.0.1 --store-port 9400 --raw-port 9401");
  if (const std::optional<int> exit_code = flags.Parse(argc, argv)) return *exit_code;
  if (options.mode == "fill") return Fill(options);
  if (options.mode == "send") return Send(options);
  return Read(options);
}

}  // namespace
}  // namespace skv::bench

int main(int argc, char** argv) { return skv::bench::Main(argc, argv); }
