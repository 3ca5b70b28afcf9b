#pragma once
// What the leader of a group says of its model for as long as it runs.

#include <string>

#include "skv/worker/v1/worker.pb.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank.h"
#include "worker/server/worker_process.h"

namespace skv::server {

std::string ServedModelName(const WorkerOptions& options,
                            const engine::ModelDescription& description);

// `engine_options`: those of the engine over `rank`.
worker::v1::ModelInfo MakeModelInfo(const WorkerOptions& options,
                                    const engine::ModelDescription& description,
                                    const engine::Rank& rank,
                                    const engine::EngineOptions& engine_options);

}  // namespace skv::server
