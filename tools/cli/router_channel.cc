#include "tools/cli/router_channel.h"

#include <chrono>

#include "absl/strings/str_cat.h"

namespace skv::cli {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(5);

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectToRouter(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
    return absl::UnavailableError(absl::StrCat("--endpoint ", endpoint,
                                               ": nobody answers; start a cluster with "
                                               "`skv cluster up` or name another endpoint"));
  }
  return channel;
}

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace skv::cli
