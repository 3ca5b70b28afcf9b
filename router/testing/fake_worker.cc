#include "router/testing/fake_worker.h"

#include <chrono>
#include <thread>
#include <utility>

#include "router/testing/fake_group_client.h"

namespace skv::router {

namespace pb = ::skv::worker::v1;

FakeWorker::FakeWorker(Script script) : script_(std::move(script)) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void FakeWorker::Kill() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
}

bool FakeWorker::Send(Writer* writer, std::string_view text) {
  pb::GenerateEvent event;
  for (const char c : text) event.add_tokens()->set_id(static_cast<unsigned char>(c));
  return writer->Write(event);
}

void FakeWorker::SendFinish(Writer* writer, pb::FinishReason reason) {
  pb::GenerateEvent event;
  event.mutable_finish()->set_reason(reason);
  writer->Write(event);
}

void FakeWorker::WaitForCancel(grpc::ServerContext* context) {
  while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

grpc::Status FakeWorker::Generate(grpc::ServerContext* context, const pb::GenerateRequest* request,
                                  Writer* writer) {
  ++num_calls_;
  ++num_open_;
  grpc::Status status = script_(context, *request, writer);
  --num_open_;
  return status;
}

grpc::Status FakeWorker::GetModelInfo(grpc::ServerContext*, const pb::GetModelInfoRequest*,
                                      pb::ModelInfo* info) {
  const ModelInfo tiny = TinyModel();
  info->set_name(tiny.name);
  info->set_fingerprint(tiny.fingerprint);
  info->set_context_length(static_cast<int>(tiny.context_length));
  info->set_vocab_size(static_cast<int>(tiny.vocab_size));
  info->set_numerics_id(tiny.numerics_id);
  info->set_default_kv_policy(tiny.kv_policies.default_name);
  for (const KvPolicy& policy : tiny.kv_policies.policies) {
    pb::KvPolicy* const offered = info->add_kv_policies();
    offered->set_name(policy.name);
    if (policy.max_capacity_prompts)
      offered->set_max_capacity_prompts(*policy.max_capacity_prompts);
    if (policy.semantic_factor) offered->set_semantic_factor(*policy.semantic_factor);
  }
  pb::TokenizerSpec* spec = info->mutable_tokenizer();
  spec->set_model(tiny.tokenizer.model);
  spec->set_pre(tiny.tokenizer.pre);
  for (const std::string& token : tiny.tokenizer.tokens) spec->add_tokens(token);
  for (const int32_t type : tiny.tokenizer.token_types) spec->add_token_types(type);
  spec->set_bos_id(tiny.tokenizer.bos_id);
  spec->set_eos_id(tiny.tokenizer.eos_id);
  spec->set_eot_id(-1);
  spec->set_unk_id(-1);
  spec->set_pad_id(-1);
  spec->set_chat_template(tiny.tokenizer.chat_template);
  return grpc::Status::OK;
}

grpc::Status FakeWorker::GetLoad(grpc::ServerContext*, const pb::GetLoadRequest*,
                                 pb::LoadReport* report) {
  report->set_epoch(1);
  return grpc::Status::OK;
}

}  // namespace skv::router
