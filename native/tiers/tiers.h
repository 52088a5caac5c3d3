// The tiers of this build: their list stands in cmake/Tiers.cmake.
#pragma once

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
    const Kernels& (*kernels)();
    const Fp32Kernels& fp32;
};

// The tiers of this build that this machine can run, best first.
const std::vector<Tier>& available_tiers();

// One of them by its name; throws std::invalid_argument, which names those that there are.
const Tier& find_tier(std::string_view name);

}  // namespace intact
