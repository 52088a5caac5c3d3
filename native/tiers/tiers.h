// The tiers of this build, listed in cmake/Tiers.cmake.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/fp32.h"
#include "kernels/kernels.h"

namespace intact {

struct Tier {
    std::string_view name;
    std::string_view fp32_name;  // the tier whose fp32 kernels it takes
    std::string_view features;   // that a processor needs, separated by spaces
    Kernels table;
    const Fp32Kernels& fp32;

    const Kernels& kernels() const { return table; }
};

// The tiers of this build that this machine supports, best first.
const std::vector<Tier>& available_tiers();

// Tiers that this machine supports but this build lacks, best first.
std::vector<std::string_view> missing_tiers();

// The first of them if it is faster than all tiers of this build, otherwise nothing.
std::optional<std::string_view> faster_tier();

// Returns a tier by name; throws std::invalid_argument, which lists the available tiers.
const Tier& find_tier(std::string_view name);

}  // namespace intact
