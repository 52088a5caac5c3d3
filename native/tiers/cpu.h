// Which tiers this processor and its operating system can run. (__builtin_cpu_supports needs a symbol of libgcc's that
// zig's run time lacks.)
#pragma once

#include <string_view>

namespace intact {

bool cpu_supports(std::string_view tier) noexcept;

}  // namespace intact
