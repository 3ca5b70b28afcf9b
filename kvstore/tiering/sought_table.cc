#include "kvstore/tiering/sought_table.h"

#include <algorithm>

#include "common/log.h"

namespace skv::kvstore {

SeekId SoughtTable::Begin(absl::Span<const EntryKey> keys, TimePoint now) {
  SKV_CHECK(!keys.empty());
  if (chains_.size() >= limits_.max_chains || sought_.size() + keys.size() > limits_.max_keys) {
    return SeekId::kNone;
  }
  const SeekId id{++last_id_};
  chains_.emplace(id, Chain{.keys = {keys.begin(), keys.end()}, .begin = now});
  for (const EntryKey& key : keys) SKV_CHECK(sought_.emplace(key, id).second);
  return id;
}

void SoughtTable::Found(const EntryKey& key) {
  sought_.erase(key);
  absent_.erase(key);
}

void SoughtTable::EndUntil(SeekId id, TimePoint absent_until, std::vector<EntryKey>* ended) {
  const auto chain = chains_.find(id);
  if (chain == chains_.end()) return;
  bool is_first = true;
  for (const EntryKey& key : chain->second.keys) {
    const auto found = sought_.find(key);
    if (found == sought_.end() || found->second != id) continue;
    if (std::exchange(is_first, false)) AddAbsent(key, absent_until);
    ended->push_back(key);
    sought_.erase(found);
  }
  chains_.erase(chain);
}

void SoughtTable::Withdraw(SeekId id) {
  const auto chain = chains_.find(id);
  if (chain == chains_.end()) return;
  for (const EntryKey& key : chain->second.keys) {
    const auto found = sought_.find(key);
    if (found != sought_.end() && found->second == id) sought_.erase(found);
  }
  chains_.erase(chain);
}

void SoughtTable::AddAbsent(const EntryKey& key, TimePoint until) {
  if (absent_order_.size() >= limits_.max_absent) {
    const auto& [time, oldest] = absent_order_.front();
    const auto found = absent_.find(oldest);
    if (found != absent_.end() && found->second == time) absent_.erase(found);
    absent_order_.pop_front();
  }
  absent_[key] = until;
  absent_order_.emplace_back(until, key);
}

void SoughtTable::Expire(TimePoint now, std::vector<SeekId>* seeks, std::vector<EntryKey>* ended) {
  while (!chains_.empty() && chains_.begin()->second.begin + limits_.seek_time <= now) {
    seeks->push_back(chains_.begin()->first);
    End(seeks->back(), now, ended);
  }
  while (!absent_order_.empty() && absent_order_.front().first <= now) {
    const auto found = absent_.find(absent_order_.front().second);
    if (found != absent_.end() && found->second <= now) absent_.erase(found);
    absent_order_.pop_front();
  }
}

TimePoint SoughtTable::NextDeadline() const {
  TimePoint next = TimePoint::max();
  if (!chains_.empty()) next = chains_.begin()->second.begin + limits_.seek_time;
  if (!absent_order_.empty()) next = std::min(next, absent_order_.front().first);
  return next;
}

bool SoughtTable::IsAbsent(const EntryKey& key, TimePoint now) const {
  const auto found = absent_.find(key);
  return found != absent_.end() && found->second > now;
}

}  // namespace skv::kvstore
