// Detects the instruction sets of this processor and its operating system. (__builtin_cpu_supports needs a libgcc
// symbol that zig's runtime lacks.)
#pragma once

#include <string_view>

namespace intact {

// If true, the processor has all of the features, which are names from cmake/Tiers.cmake, separated by spaces. Throws
// std::invalid_argument for a name that cpu.cpp does not know.
bool cpu_has(std::string_view features);

}  // namespace intact
