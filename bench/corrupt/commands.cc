#include "bench/corrupt/commands.h"

#include <istream>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "bench/corrupt/blob_files.h"
#include "bench/corrupt/reader.h"
#include "common/status.h"

namespace skv::corrupt {
namespace {

using Json = nlohmann::json;

Numbers NumbersOf(const Json& request) {
  return {request.at("first").get<int>(), request.at("count").get<int>()};
}

std::string TextOf(const Json& request, const char* field) {
  return request.at(field).get<std::string>();
}

}  // namespace

absl::StatusOr<Json> Commands::Answer(const std::string& line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  try {
    const std::string command = TextOf(request, "cmd");
    if (command == "write") return Write(request);
    if (command == "flip") return Flip(request);
    if (command == "compare") return Compare(request);
    if (command == "flip_blobs") return FlipBlobs(request);
    if (command == "read") return Read(request);
    return absl::InvalidArgumentError(
        absl::StrCat("cmd: \"", command, "\", expected write, flip, compare, flip_blobs or read"));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("request: ", error.what()));
  }
}

absl::StatusOr<RawBlocks*> Commands::PlaceOf(const Json& request,
                                             std::unique_ptr<RawBlocks>* opened) {
  const std::string place = TextOf(request, "place");
  if (place == "nvme") {
    SKV_ASSIGN_OR_RETURN(*opened, OpenNvmeBlocks(TextOf(request, "at")));
  } else if (place == "redis") {
    SKV_ASSIGN_OR_RETURN(*opened, OpenRedisBlocks(TextOf(request, "at")));
  } else if (place == "arena" && arena_ != nullptr) {
    return arena_.get();
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("place: \"", place, "\", expected nvme, redis, or, after a write, arena"));
  }
  return opened->get();
}

absl::StatusOr<Json> Commands::Write(const Json& request) {
  SKV_ASSIGN_OR_RETURN(arena_, ArenaBlocks::Open(TextOf(request, "socket")));
  const Numbers numbers = NumbersOf(request);
  SKV_RETURN_IF_ERROR(arena_->Write(series_, numbers));
  uint64_t num_bytes = 0;
  for (int number = numbers.first; number < numbers.end(); ++number) {
    num_bytes += series_.Make(number).bytes.size();
  }
  return Json{{"bytes", num_bytes}};
}

absl::StatusOr<Json> Commands::Flip(const Json& request) {
  std::unique_ptr<RawBlocks> opened;
  SKV_ASSIGN_OR_RETURN(RawBlocks* const place, PlaceOf(request, &opened));
  const Numbers numbers = NumbersOf(request);
  int num_in_header = 0;
  for (int number = numbers.first; number < numbers.end(); ++number) {
    const NumberedBlock block = series_.Make(number);
    const uint64_t bit = series_.BitOf(block, number);
    SKV_RETURN_IF_ERROR(place->FlipBit(block.sentence.key, bit));
    if (bit / 8 < block.header_bytes) ++num_in_header;
  }
  return Json{{"in_header", num_in_header}};
}

absl::StatusOr<Json> Commands::Compare(const Json& request) {
  std::unique_ptr<RawBlocks> opened;
  SKV_ASSIGN_OR_RETURN(RawBlocks* const place, PlaceOf(request, &opened));
  const Numbers numbers = NumbersOf(request);
  int num_right = 0, num_wrong = 0, num_unreadable = 0;
  for (int number = numbers.first; number < numbers.end(); ++number) {
    const NumberedBlock block = series_.Make(number);
    const absl::StatusOr<std::string> bytes = place->Read(block.sentence.key);
    if (!bytes.ok()) {
      ++num_unreadable;
    } else {
      ++(*bytes == block.bytes ? num_right : num_wrong);
    }
  }
  return Json{{"right", num_right}, {"wrong", num_wrong}, {"unreadable", num_unreadable}};
}

absl::StatusOr<Json> Commands::FlipBlobs(const Json& request) const {
  SKV_ASSIGN_OR_RETURN(
      const BlobDamage damage,
      DamageBlobFiles(TextOf(request, "at"), request.at("count").get<int>(), seed_));
  return Json{{"files", damage.num_files}, {"bytes", damage.num_bytes}};
}

absl::StatusOr<Json> Commands::Read(const Json& request) const {
  SKV_ASSIGN_OR_RETURN(const ReadCounts counts,
                       ReadBlocks(TextOf(request, "socket"), series_, NumbersOf(request),
                                  request.at("waits").get<bool>()));
  return Json{{"right", counts.num_right},
              {"wrong", counts.num_wrong},
              {"missed", counts.num_missed},
              {"corrupt", counts.num_corrupt}};
}

void ServeCommands(uint64_t seed, std::istream& in, std::ostream& out) {
  Commands commands(seed);
  std::string line;
  while (std::getline(in, line)) {
    const absl::StatusOr<Json> answer = commands.Answer(line);
    Json reply = answer.ok() ? *answer : Json::object();
    reply["ok"] = answer.ok();
    if (!answer.ok()) reply["error"] = answer.status().ToString();
    out << reply.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) << std::endl;
  }
}

}  // namespace skv::corrupt
