#pragma once
// Finished cells of a study in a JSON file, so that an interrupted run goes on where it was:
//   {"subject": "...", "cells": {"KEY": {...}}}

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace skv::eval {

class CellStore {
 public:
  // Reads `path`, or begins empty when there is no such file or no path. `subject` names what all
  // cells are about (weights, arithmetic, rules). DataLoss: not such a file. FailedPrecondition: it
  // is about another subject.
  static absl::StatusOr<CellStore> Open(const std::string& path, const std::string& subject);

  // Null when there is none.
  const nlohmann::json* Find(const std::string& key) const;
  // The cells are in the file when this returns OK.
  absl::Status Add(const nlohmann::json& cells);

 private:
  CellStore(std::string path, const std::string& subject)
      : path_(std::move(path)),
        json_({{"subject", subject}, {"cells", nlohmann::json::object()}}) {}

  std::string path_;
  nlohmann::json json_;
};

}  // namespace skv::eval
