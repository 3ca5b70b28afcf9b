#pragma once
// The version of this build, e.g. "0.1.0".

#include <string_view>

namespace skv {

std::string_view Version();

}  // namespace skv
