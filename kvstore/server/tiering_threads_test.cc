// Sessions, tiers and the scrubber on their own threads over one store.

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kvstore/arena/arena.h"
#include "kvstore/index/s3fifo_order.h"
#include "kvstore/server/command_store_owner.h"
#include "kvstore/server/session_server.h"
#include "kvstore/server/testing/test_client.h"
#include "kvstore/tier/testing/fake_tier.h"
#include "kvstore/tiering/tiering.h"

namespace skv::kvstore {
namespace {

constexpr uint64_t kArenaBytes = 1 << 20;
constexpr uint64_t kPayload = (16 << 10) - 128;  // 64 fill the arena
constexpr int kLength = 12;

std::vector<Sentence> MakeLargeChain(int first_number) {
  std::vector<Sentence> chain;
  for (int i = 0; i < kLength; ++i) {
    const Sentence* const parent = i == 0 ? nullptr : &chain.back();
    const Sentence sentence = MakeSentence(first_number + i, parent, kPayload);
    chain.push_back(sentence);
  }
  return chain;
}

class TieringThreadsTest : public testing::Test {
 protected:
  TieringThreadsTest() {
    char name[] = "/tmp/skv_tiering_XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    std::vector<TierSetup> tiers(2);
    for (int i = 0; i < 2; ++i) {
      auto tier = std::make_unique<FakeTier>(i == 0 ? "nvme" : "redis");
      tiers_[i] = tier.get();
      tiers[i].tier = std::move(tier);
      tiers[i].mover.retry_time = std::chrono::milliseconds(1);
    }
    tiering_ =
        std::make_unique<Tiering>(std::move(tiers), ScrubberOptions(), &owner_, &RealClock());
    arena_ = Arena::Create({.num_bytes = kArenaBytes, .spare_bytes = 0}, RealClock()).value();
    BlockStoreOptions options;
    options.index.capacity_bytes = static_cast<int64_t>(arena_->num_bytes());
    options.index.max_entries = options.index.max_shards = 1 << 12;
    const std::span<std::byte> bytes = arena_->Bytes(0, arena_->num_bytes());
    store_ = std::make_unique<BlockStore>(options, CreateS3FifoOrder(options.index.order()), bytes);
    desk_ = std::make_unique<TierDesk>(TierDeskOptions(), store_.get(), bytes, tiering_->inboxes());
    owner_.SetDesk(desk_.get());
    SessionServerOptions server;
    server.handler.max_clients = 16;
    server.handler.arena_bytes = arena_->num_bytes();
    server.handler.events = &events_;
    server.handler.tiers = desk_.get();
    server.arena_fd = arena_->fd();
    server.commands = &commands_;
    server_ = SessionServer::Create(server, SessionListener::Listen(path()).value(), store_.get(),
                                    &status_)
                  .value();
    thread_ = std::thread([this] { EXPECT_OK(server_->Run()); });
    tiering_->Start();
  }
  ~TieringThreadsTest() override {
    Stop();
    std::filesystem::remove_all(folder_);
  }
  void Stop() {
    if (!thread_.joinable()) return;
    tiering_->Stop();
    server_->Stop();
    thread_.join();
  }
  std::string path() const { return folder_ + "/s"; }

  // What a worker does: finds what there is, waits for what is coming, writes the rest.
  static void Read(TestClient* client, const std::vector<Sentence>& chain) {
    for (int look = 0; look < 20; ++look) {
      const GetReply reply = client->Get(KeysOf(chain));
      const size_t num_found = reply.blocks.size();
      for (size_t i = 0; i < num_found; ++i) {
        ASSERT_TRUE(client->IsIntact(chain[i], reply.blocks[i]));
      }
      if (num_found > 0) client->Release(reply.lease);
      if (num_found == chain.size()) return;
      const CreateReplyItem created = client->Create(chain[num_found]);
      if (created.outcome == CreateOutcome::kInProgress) {
        ASSERT_EQ(client->Ask<WaitReply>(Wait{{chain[num_found].item.key}}), WaitReply{});
        ASSERT_TRUE(std::holds_alternative<Notice>(client->Receive().body));
      } else if (created.outcome == CreateOutcome::kCreated) {
        client->Write(chain[num_found], created.range);
        client->Seal(created.lease);
        client->Release(created.lease);
      }
    }
  }

  std::string folder_;
  CommandQueue commands_{64};
  CommandStoreOwner owner_{&commands_};
  EventFeed events_{1 << 10};
  ServerStatus status_{&RealClock()};
  FakeTier* tiers_[2] = {};
  std::unique_ptr<Tiering> tiering_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<TierDesk> desk_;
  std::unique_ptr<SessionServer> server_;
  std::thread thread_;
};

// The arena holds five chains of the twelve; tiers come, go and lie meanwhile.
TEST_F(TieringThreadsTest, WhateverTiersDoBlocksAreRightAndNothingIsLeft) {
  std::atomic<bool> is_over{false};
  std::thread trouble([&] {
    for (int i = 0; !is_over; ++i) {
      tiers_[i % 2]->SetOn(i % 3 != 0);
      tiers_[i % 2]->SetFull(i % 5 == 0);
      for (const Sentence& sentence : MakeLargeChain(100 * (i % 12))) {
        tiers_[0]->Damage({{sentence.item.key, TestHello().layout}, 0});
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  std::vector<std::thread> readers;
  readers.reserve(3);
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([this, reader] {
      TestClient client(path());
      for (int i = 0; i < 60; ++i) Read(&client, MakeLargeChain(100 * ((7 * reader + 5 * i) % 12)));
      tiering_->Report({{{MakeSentence(1).item.key, TestHello().layout}}});
    });
  }
  for (std::thread& thread : readers) thread.join();
  is_over = true;
  trouble.join();
  for (const TierStatus& tier : tiering_->tiers()) EXPECT_GT(tier.mover.num_written_entries, 0u);
  Stop();
  EXPECT_GT(desk_->gauges().num_seeks, 0u);
  EXPECT_EQ(desk_->gauges().num_expired_seeks, 0u);
}

TEST_F(TieringThreadsTest, AStoreThatStopsEndsTheCallsOfThoseWhoMoveBlocks) {
  TestClient client(path());
  Read(&client, MakeLargeChain(1));
  server_->Stop();
  thread_.join();
  bool was_called = false;
  EXPECT_FALSE(owner_.Run([&](TierDesk*) { was_called = true; }));
  EXPECT_FALSE(was_called);
  tiering_->Stop();
}

}  // namespace
}  // namespace skv::kvstore
