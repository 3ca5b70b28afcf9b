#include "common/version.h"

namespace skv {

std::string_view Version() { return SKV_VERSION; }

}  // namespace skv
