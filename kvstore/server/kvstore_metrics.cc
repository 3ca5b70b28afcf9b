#include "kvstore/server/kvstore_metrics.h"

#include <string>
#include <utility>

namespace skv::kvstore {
namespace {

using Gauges = ServerGauges;

// Registers what is a function of the gauges.
class Registrar {
 public:
  Registrar(const ServerStatus* status, Metrics* metrics) : status_(status), metrics_(metrics) {}

  template <typename Read>
  void gauge(const char* name, const char* help, Read read, const MetricLabels& labels = {}) {
    metrics_->AddGauge(name, help, labels,
                       [status = status_, read] { return double(read(status->gauges())); });
  }
  template <typename Read>
  void counter(const char* name, const char* help, Read read, const MetricLabels& labels = {}) {
    metrics_->AddCounterFrom(name, help, labels,
                             [status = status_, read] { return double(read(status->gauges())); });
  }

 private:
  const ServerStatus* const status_;
  Metrics* const metrics_;
};

void AddSessions(const EntryTableOptions& index, const SessionHandlerOptions& options,
                 Registrar to) {
  to.gauge("skv_kvstore_clients", "Connections, with a session or before it.",
           [](const Gauges& g) { return g.sessions.num_clients; });
  to.gauge("skv_kvstore_max_clients", "Most connections.",
           [max = options.max_clients](const Gauges&) { return max; });
  to.gauge("skv_kvstore_sessions", "Clients with a session.",
           [](const Gauges& g) { return g.sessions.num_sessions; });
  to.gauge("skv_kvstore_max_sessions", "Most sessions.",
           [max = index.leases.max_sessions - 2](const Gauges&) { return max; });
  to.gauge("skv_kvstore_leases", "Leases held by sessions.",
           [](const Gauges& g) { return g.store.index.num_leases; });
  to.gauge("skv_kvstore_max_leases", "Most leases of all sessions.",
           [max = index.leases.max_leases](const Gauges&) { return max; });
  to.gauge("skv_kvstore_waits", "Keys that sessions wait for.",
           [](const Gauges& g) { return g.sessions.num_waits; });
  to.gauge("skv_kvstore_max_session_waits", "Most keys that one session may wait for.",
           [max = options.max_waits_per_session](const Gauges&) { return max; });
}

void AddRequests(Registrar to) {
  for (size_t kind = 0; kind < std::size(kRequestKindNames); ++kind) {
    to.counter("skv_kvstore_requests_total", "Requests of sessions.",
               [kind](const Gauges& g) { return g.sessions.num_requests[kind]; },
               {{"kind", std::string(kRequestKindNames[kind])}});
  }
  to.counter("skv_kvstore_hit_blocks_total", "Keys of Get requests that were found.",
             [](const Gauges& g) { return g.sessions.num_hit_blocks; });
  to.counter("skv_kvstore_missed_blocks_total", "Keys of Get requests that were not found.",
             [](const Gauges& g) { return g.sessions.num_missed_blocks; });
  to.counter("skv_kvstore_refused_creates_total", "Blocks for which there was no room.",
             [](const Gauges& g) { return g.sessions.num_refused_blocks; });
  to.counter("skv_kvstore_session_errors_total", "Clients that got an Error.",
             [](const Gauges& g) { return g.sessions.num_errors; });
  to.counter("skv_kvstore_accept_pauses_total", "Times that new clients had to wait.",
             [](const Gauges& g) { return g.num_accept_pauses; });
}

void AddEntries(const EntryTableOptions& index, Registrar to) {
  const std::pair<const char*, uint32_t EntryTableGauges::*> kStates[] = {
      {"created", &EntryTableGauges::num_created},
      {"sealed", &EntryTableGauges::num_sealed},
      {"dropped", &EntryTableGauges::num_dropped}};
  for (const auto& [state, count] : kStates) {
    to.gauge("skv_kvstore_entries", "Sentences, by state.",
             [count = count](const Gauges& g) { return g.store.index.*count; }, {{"state", state}});
  }
  to.gauge("skv_kvstore_max_entries", "Most sentences.",
           [max = index.max_entries](const Gauges&) { return max; });
  to.gauge("skv_kvstore_leased_entries", "Sentences with a lease of their own.",
           [](const Gauges& g) { return g.store.index.num_leased; });
  to.gauge("skv_kvstore_blocks", "Blocks in the arena.",
           [](const Gauges& g) { return g.store.num_blocks; });
  to.gauge("skv_kvstore_max_blocks", "Most blocks.",
           [max = index.max_shards](const Gauges&) { return max; });
  to.gauge("skv_kvstore_tenants", "Tenants, the common one included.",
           [](const Gauges& g) { return g.store.index.num_tenants; });
  to.gauge("skv_kvstore_max_tenants", "Most tenants.",
           [max = index.max_tenants](const Gauges&) { return max; });
  to.gauge("skv_kvstore_ghosts", "Keys remembered after their eviction.",
           [](const Gauges& g) { return g.store.index.order.num_ghosts; });
  to.gauge("skv_kvstore_max_ghosts", "Most of those.",
           [](const Gauges& g) { return g.store.index.order.max_ghosts; });
}

void AddArena(Registrar to) {
  to.gauge("skv_kvstore_arena_bytes", "Memory for blocks.",
           [](const Gauges& g) { return g.store.arena_bytes; });
  to.gauge("skv_kvstore_live_bytes", "Bytes of the arena that blocks take.",
           [](const Gauges& g) { return g.store.live_bytes; });
  to.gauge("skv_kvstore_committed_bytes", "Live bytes, and holes too small for any block.",
           [](const Gauges& g) { return g.store.committed_bytes; });
  to.gauge("skv_kvstore_leased_bytes", "Bytes of sentences with a lease of their own.",
           [](const Gauges& g) { return g.store.index.leased_bytes; });
  to.counter("skv_kvstore_evictions_total", "Sentences evicted.",
             [](const Gauges& g) { return g.store.index.num_evicted; });
  to.counter("skv_kvstore_widening_evictions_total", "Of those, evicted to widen a hole.",
             [](const Gauges& g) { return g.store.num_widening; });
}

}  // namespace

void AddKvStoreMetrics(const EntryTableOptions& index, const SessionHandlerOptions& sessions,
                       const ServerStatus* status, Metrics* metrics) {
  const Registrar to(status, metrics);
  AddSessions(index, sessions, to);
  AddRequests(to);
  AddEntries(index, to);
  AddArena(to);
  metrics->AddGauge("skv_kvstore_turn_age_seconds",
                    "Seconds since the sessions' thread ended a turn: its heartbeat.", {},
                    [status] { return status->turn_age_seconds(); });
}

}  // namespace skv::kvstore
