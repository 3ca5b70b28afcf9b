#include "router/router.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "router/admission/validate.h"

namespace skv::router {

Router::Router(RouterOptions options, Membership* membership, const Clock* clock,
               std::function<uint64_t()> draw, std::function<void(const RelayStats&)> on_end)
    : options_(options),
      membership_(membership),
      clock_(clock),
      draw_(std::move(draw)),
      on_end_(std::move(on_end)),
      limiter_(options.max_concurrent_requests) {}

absl::StatusOr<ConcurrencyLimiter::Ticket> Router::Enter() {
  absl::StatusOr<ConcurrencyLimiter::Ticket> ticket = limiter_.Enter();
  if (!ticket.ok()) on_end_({.code = ticket.status().code()});
  return ticket;
}

absl::StatusOr<std::shared_ptr<Relay>> Router::Generate(Request request, Deadline deadline,
                                                        TimePoint arrival,
                                                        ConcurrencyLimiter::Ticket ticket,
                                                        std::shared_ptr<ClientStream> client) {
  auto relay =
      CreateRelay(std::move(request), deadline, arrival, std::move(ticket), std::move(client));
  if (!relay.ok()) {
    CountRefused(relay.status(), arrival);
    return relay.status();
  }
  (*relay)->Start();
  return relay;
}

void Router::CountRefused(const absl::Status& status, TimePoint arrival) {
  on_end_({.code = status.code(), .total_seconds = ToSeconds(clock_->Now() - arrival)});
}

void Router::WatchHealth(std::function<void(bool any_healthy)> listener) {
  if (listener == nullptr) return membership_->SetListener(nullptr);
  membership_->SetListener([listener = std::move(listener)](const Cluster& cluster) {
    listener(cluster.num_healthy_groups() > 0);
  });
}

absl::StatusOr<std::shared_ptr<Relay>> Router::CreateRelay(Request request, Deadline deadline,
                                                           TimePoint arrival,
                                                           ConcurrencyLimiter::Ticket ticket,
                                                           std::shared_ptr<ClientStream> client) {
  SKV_ASSIGN_OR_RETURN(const ClusterModel model, membership_->snapshot()->FindModel(request.model));
  const ServedModel& served = *model.served;
  SKV_RETURN_IF_ERROR(ValidateRequest(request, served.limits()));
  SKV_ASSIGN_OR_RETURN(std::vector<TokenId> prompt_ids,
                       served.Encode(request.prompt, request.parse_special));
  SKV_ASSIGN_OR_RETURN(GroupRequest admitted,
                       BuildGroupRequest(request, served.limits(), std::move(prompt_ids), draw_()));
  // Two clients may choose the same id; a worker may not see it twice.
  admitted.request_id = absl::StrCat("skv-", absl::Hex(draw_(), absl::kZeroPad16));
  if (request.request_id.empty()) request.request_id = admitted.request_id;
  SKV_ASSIGN_OR_RETURN(auto stops, text::StopSet::Create(std::move(request.stop)));
  std::shared_ptr<const text::TokenText> prompt_text;
  if (request.explain) prompt_text = served.TextOf(request.prompt, admitted.prompt_ids);
  PrefixChain prompt_prefix;
  if (membership_->prefixes() != nullptr) prompt_prefix = served.PrefixOf(admitted);
  RelayJob job{.request = std::move(admitted),
               .prompt_prefix = std::move(prompt_prefix),
               .client_request_id = std::move(request.request_id),
               .stops = std::move(stops),
               .model = model.served,
               .prompt_text = std::move(prompt_text),
               .deadline = deadline,
               .arrival = arrival,
               .sequence = next_sequence_.fetch_add(1),
               .max_retries = options_.max_retries,
               .max_migrations = options_.max_migrations,
               .migration_wait = options_.migration_wait,
               .ticket = std::move(ticket)};
  return Relay::Create(std::move(job), membership_, clock_, std::move(client), on_end_);
}

std::vector<ModelSummary> Router::ListModels() const {
  std::vector<ModelSummary> models;
  const std::shared_ptr<const Cluster> cluster = membership_->snapshot();
  for (const auto& [name, model] : cluster->models) {
    const ModelLimits& limits = model.served->limits();
    models.push_back({name, model.served->fingerprint(), limits.context_length, limits.vocab_size,
                      model.num_healthy_groups});
  }
  return models;
}

}  // namespace skv::router
