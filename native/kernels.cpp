#include "kernels.h"

#include <string_view>

#include "cpu.h"

namespace intact {

const Kernels* kernels(const char* tier) {
    const std::string_view name = tier;
#if defined(INTACT_TIER_AMX)
    if (name == "amx") return cpu_supports(name) ? amx_kernels() : nullptr;
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
