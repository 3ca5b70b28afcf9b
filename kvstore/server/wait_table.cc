#include "kvstore/server/wait_table.h"

#include <algorithm>
#include <utility>

namespace skv::kvstore {

void WaitTable::Add(uint32_t client, const EntryKey& key) {
  if (!keys_of_[client].insert(key).second) return;
  clients_of_[key].push_back(client);
  ++size_;
}

std::vector<uint32_t> WaitTable::Take(const EntryKey& key) {
  const auto found = clients_of_.find(key);
  if (found == clients_of_.end()) return {};
  std::vector<uint32_t> clients = std::move(found->second);
  clients_of_.erase(found);
  for (const uint32_t client : clients) {
    const auto keys = keys_of_.find(client);
    keys->second.erase(key);
    if (keys->second.empty()) keys_of_.erase(keys);
  }
  size_ -= clients.size();
  return clients;
}

void WaitTable::RemoveAll(uint32_t client) {
  const auto found = keys_of_.find(client);
  if (found == keys_of_.end()) return;
  for (const EntryKey& key : found->second) {
    const auto waiting = clients_of_.find(key);
    std::vector<uint32_t>& clients = waiting->second;
    std::iter_swap(std::find(clients.begin(), clients.end(), client), clients.end() - 1);
    clients.pop_back();
    if (clients.empty()) clients_of_.erase(waiting);
  }
  size_ -= found->second.size();
  keys_of_.erase(found);
}

size_t WaitTable::NumWaitsOf(uint32_t client) const {
  const auto found = keys_of_.find(client);
  return found == keys_of_.end() ? 0 : found->second.size();
}

}  // namespace skv::kvstore
