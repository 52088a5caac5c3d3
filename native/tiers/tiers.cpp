#include "tiers/tiers.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "tiers/cpu.h"

namespace intact {

#define INTACT_TIER_ROW(name, fp32, features) \
    const Kernels& kernels_##name();          \
    extern const Fp32Kernels fp32_##fp32;
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW

const std::vector<Tier>& available_tiers() {
    static const std::vector<Tier> available = [] {
        const Tier all[] = {
#define INTACT_TIER_ROW(name, fp32, features) {#name, #fp32, features, kernels_##name, fp32_##fp32},
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW
        };
        std::vector<Tier> here;
        std::copy_if(std::begin(all), std::end(all), std::back_inserter(here),
                     [](const Tier& tier) { return cpu_has(tier.features); });
        return here;
    }();
    return available;
}

const Tier& find_tier(std::string_view name) {
    std::string names;
    for (const Tier& tier : available_tiers()) {
        if (tier.name == name) return tier;
        names.append(names.empty() ? "" : ", ").append(tier.name);
    }
    throw std::invalid_argument("tier " + std::string(name) + " is not available on this machine, which has " + names);
}

}  // namespace intact
