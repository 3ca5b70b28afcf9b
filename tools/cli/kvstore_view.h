#pragma once
// How `skv kvstore` names and shows what a store says.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "skv/kvstore/v1/kvstore.pb.h"

namespace skv::cli {

// "PREFIX/LAYOUT", 32 hexadecimal digits each.
std::string KeyText(const kvstore::v1::Key& key);
// InvalidArgument: another form.
absl::StatusOr<kvstore::v1::Key> ParseKey(const std::string& text);

// A few lines, then a table of the tenants.
std::string RenderStats(const kvstore::v1::Stats& stats);
nlohmann::ordered_json ToJson(const kvstore::v1::Stats& stats);

// "120 entries, 4.5 MiB compared, 0 damaged"
std::string RenderVerified(const kvstore::v1::VerifyResponse& verified);
// What the command ends with. DataLoss: some were damaged; ResourceExhausted: some were skipped.
absl::Status StatusOf(const kvstore::v1::VerifyResponse& verified);
nlohmann::ordered_json ToJson(const kvstore::v1::VerifyResponse& verified);

// A line for each entry, under a headline.
std::string RenderEntries(const std::vector<kvstore::v1::Entry>& entries);
nlohmann::ordered_json ToJson(const kvstore::v1::Entry& entry);

}  // namespace skv::cli
