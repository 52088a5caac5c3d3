#include "tiers/tiers.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "tiers/cpu.h"

namespace intact {

#define INTACT_TIER_ROW(name, kernels, products, fp32, features) \
    const Kernels& kernels_##kernels();                          \
    const Products& products_##products();                       \
    extern const Fp32Kernels fp32_##fp32;
#define INTACT_MISSING_ROW(name, features)
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW

namespace {

Kernels join(const char* name, Kernels kernels, const Products& products) {
    kernels.name = name;
    kernels.products = products;
    return kernels;
}

}  // namespace

const std::vector<Tier>& available_tiers() {
    static const std::vector<Tier> available = [] {
        const Tier all[] = {
#define INTACT_TIER_ROW(name, kernels, products, fp32, features) \
    {#name, #fp32, features, join(#name, kernels_##kernels(), products_##products()), fp32_##fp32},
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW
#undef INTACT_MISSING_ROW
        };
        std::vector<Tier> here;
        std::copy_if(std::begin(all), std::end(all), std::back_inserter(here),
                     [](const Tier& tier) { return cpu_has(tier.features); });
        return here;
    }();
    return available;
}

std::vector<std::string_view> missing_tiers() {
    std::vector<std::string_view> names;
#define INTACT_TIER_ROW(name, kernels, products, fp32, features)
#define INTACT_MISSING_ROW(name, features) \
    if (cpu_has(features)) names.push_back(#name);
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW
#undef INTACT_MISSING_ROW
    return names;
}

std::optional<std::string_view> faster_tier() {
#define INTACT_TIER_ROW(name, kernels, products, fp32, features) \
    if (cpu_has(features)) return std::nullopt;
#define INTACT_MISSING_ROW(name, features) \
    if (cpu_has(features)) return #name;
#include "tiers/tiers.inc"
#undef INTACT_TIER_ROW
#undef INTACT_MISSING_ROW
    return std::nullopt;
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
