#pragma once
// Reports of AddressSanitizer, LeakSanitizer, ThreadSanitizer and UndefinedBehaviorSanitizer in
// what other processes printed: their exit codes alone reach nobody when a supervisor restarts
// them.

#include <string>
#include <string_view>

namespace skv::e2e {

// From the first report on; empty when `output` holds none.
std::string_view FindSanitizerReport(std::string_view output);

// Fails the running test if `output` of the process `name` holds a report, and shows it.
void ExpectNoSanitizerReport(std::string_view name, std::string_view output);

// Empty when there is no such file.
std::string ReadFile(const std::string& path);

}  // namespace skv::e2e
