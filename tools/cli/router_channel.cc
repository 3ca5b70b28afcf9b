#include "tools/cli/router_channel.h"

#include <chrono>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::cli {
namespace {

constexpr auto kConnectTimeout = std::chrono::seconds(5);

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const std::string& endpoint,
                                                       std::string_view advice) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectTimeout)) {
    return absl::UnavailableError(absl::StrCat("--endpoint ", endpoint, ": nobody answers; ",
                                               Sv(advice), " or name another endpoint"));
  }
  return channel;
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectToRouter(const std::string& endpoint) {
  return Connect(endpoint, "start a cluster with `skv cluster up`");
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectToStore(const std::string& endpoint) {
  return Connect(endpoint, "start skv-kvstore with --port");
}

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace skv::cli
