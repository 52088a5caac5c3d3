#include "kernels.h"

#include <string_view>

namespace intact {

const Kernels* kernels(const char* tier) {
    const std::string_view name = tier;
#if defined(INTACT_TIER_AVX512)
    if (name == "avx512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")
                   ? &kAvx512
                   : nullptr;
#endif
#if defined(INTACT_TIER_AVX2)
    if (name == "avx2") return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr;
#endif
#if defined(INTACT_TIER_NEON)
    if (name == "neon") return &kNeon;
#endif
    return name == "scalar" ? &kScalar : nullptr;
}

}  // namespace intact
