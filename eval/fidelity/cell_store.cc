#include "eval/fidelity/cell_store.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace skv::eval {

absl::StatusOr<CellStore> CellStore::Open(const std::string& path, const std::string& subject) {
  CellStore store(path, subject);
  if (path.empty() || !std::filesystem::exists(path)) return store;
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("subject") || !json.contains("cells") ||
      !json["cells"].is_object()) {
    return absl::DataLossError(
        absl::StrCat("--out ", path, ": not a file of this program; name another"));
  }
  if (json["subject"] != subject) {
    return absl::FailedPreconditionError(absl::StrCat("--out ", path, ": holds results of ",
                                                      json["subject"].dump(), ", expected \"",
                                                      subject, "\"; delete it or name another"));
  }
  store.json_ = json;
  return store;
}

const nlohmann::json* CellStore::Find(const std::string& key) const {
  const nlohmann::json& cells = json_.at("cells");
  const auto found = cells.find(key);
  return found == cells.end() ? nullptr : &*found;
}

absl::Status CellStore::Add(const nlohmann::json& cells) {
  json_["cells"].update(cells);
  if (path_.empty()) return absl::OkStatus();
  // A reader, or a run that is killed, never meets half a file.
  const std::string scratch = path_ + ".new";
  std::ofstream file(scratch);
  file << json_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(scratch, path_, error);
  if (!file || error) return absl::InternalError(absl::StrCat("--out ", path_, ": write failed"));
  return absl::OkStatus();
}

}  // namespace skv::eval
