#include "router/grpc/grpc_group_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

namespace skv::router {
namespace {

// A group that is gone while it is probed: the callback, on a thread of gRPC's, is then the last
// owner of the only channel.
TEST(GrpcGroupClientTest, ClientMayGoWhileItsProbeIsUnderWay) {
  for (int round = 0; round < 200; ++round) {
    std::promise<bool> ok;
    MakeGrpcGroupClient("127.0.0.1:1")->Probe(std::chrono::seconds(5), [&ok](const auto& result) {
      ok.set_value(result.ok());
    });
    EXPECT_FALSE(ok.get_future().get());
  }
}

}  // namespace
}  // namespace skv::router
