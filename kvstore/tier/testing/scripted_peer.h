#pragma once
// Whatever may listen where a Redis server is expected: answers every connection with the same
// bytes, whatever it is asked.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "common/log.h"

namespace skv::kvstore {

class ScriptedPeer {
 public:
  // Sends `answer` when the first bytes of a question arrive, `piece_bytes` at a time, with
  // `pause` between the pieces; then reads on, or closes if `closes`.
  struct Script {
    std::string answer;
    size_t piece_bytes = 1 << 20;
    std::chrono::milliseconds pause{0};
    bool closes = false;
    uint64_t num_repeats = 1;  // of the answer
  };

  ScriptedPeer(const std::string& folder, Script script)
      : path_(folder + "/peer.socket"), script_(std::move(script)) {
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {.sun_family = AF_UNIX};
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    unlink(path_.c_str());
    SKV_CHECK(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    SKV_CHECK(listen(fd_, 16) == 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~ScriptedPeer() {
    is_over_ = true;
    shutdown(fd_, SHUT_RDWR);
    if (const int peer = peer_.load(); peer >= 0) shutdown(peer, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  ScriptedPeer(const ScriptedPeer&) = delete;
  ScriptedPeer& operator=(const ScriptedPeer&) = delete;

  std::string address() const { return "unix://" + path_; }

 private:
  void Serve() {
    while (!is_over_) {
      const int peer = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      peer_ = peer;
      if (!is_over_) Answer(peer);
      peer_ = -1;
      close(peer);
    }
  }

  void Answer(int peer) const {
    std::string buffer(1 << 16, '\0');
    if (read(peer, buffer.data(), buffer.size()) <= 0) return;
    for (uint64_t i = 0; i < script_.num_repeats && !is_over_; ++i) {
      for (size_t begin = 0; begin < script_.answer.size(); begin += script_.piece_bytes) {
        const std::string piece = script_.answer.substr(begin, script_.piece_bytes);
        if (send(peer, piece.data(), piece.size(), MSG_NOSIGNAL) < 0) return;
        if (script_.pause.count() > 0) std::this_thread::sleep_for(script_.pause);
      }
    }
    while (!script_.closes && read(peer, buffer.data(), buffer.size()) > 0) {
    }
  }

  const std::string path_;
  const Script script_;
  int fd_ = -1;
  std::atomic<bool> is_over_ = false;
  std::atomic<int> peer_ = -1;
  std::thread thread_;
};

}  // namespace skv::kvstore
