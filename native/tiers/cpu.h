// Which instruction sets this processor and its operating system have. (__builtin_cpu_supports needs a symbol of
// libgcc's that zig's run time lacks.)
#pragma once

#include <string_view>

namespace intact {

// If true, the processor has all of the features: names of cmake/Tiers.cmake, separated by spaces. Throws
// std::invalid_argument for a name that cpu.cpp does not know.
bool cpu_has(std::string_view features);

}  // namespace intact
