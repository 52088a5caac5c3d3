#include "kernels/kernels.h"

#include <string_view>

#include "tiers/cpu.h"

namespace intact {
#if defined(INTACT_TIER_VBMI2)
namespace {

// Tier vbmi2 with the products of tier avx512: in vbmi2's, what AMD's multipliers could do goes to shifts and affine
// maps.
const Kernels* zen4_kernels() {
    static const Kernels table = [] {
        Kernels k = kVbmi2;
        k.name = "zen4";
        k.matmul = kAvx512.matmul;
        return k;
    }();
    return &table;
}

}  // namespace
#endif

const Kernels* kernels(const char* tier) {
    const std::string_view name = tier;
#if defined(INTACT_TIER_AMX)
    if (name == "amx") return cpu_supports(name) ? amx_kernels() : nullptr;
#endif
#if defined(INTACT_TIER_VBMI2)
    if (name == "zen4") return cpu_supports(name) ? zen4_kernels() : nullptr;
    if (name == "vbmi2") return cpu_supports(name) ? &kVbmi2 : nullptr;
#endif
#if defined(INTACT_TIER_AVX512)
    if (name == "avx512") return cpu_supports(name) ? &kAvx512 : nullptr;
#endif
#if defined(INTACT_TIER_AVX2)
    if (name == "avx2") return cpu_supports(name) ? &kAvx2 : nullptr;
#endif
#if defined(INTACT_TIER_NEON)
    if (name == "neon") return &kNeon;
#endif
    return name == "scalar" ? &kScalar : nullptr;
}

}  // namespace intact
