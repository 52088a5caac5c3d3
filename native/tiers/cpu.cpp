#include "tiers/cpu.h"

#if defined(__x86_64__)
#    include <cpuid.h>
#    if defined(__linux__)
#        include <sys/syscall.h>
#        include <unistd.h>
#    endif
#endif

#include <cstdint>

namespace intact {
#if defined(__x86_64__)
namespace {

bool has(std::uint32_t word, std::uint32_t bits) { return (word & bits) == bits; }

bool is_amd() {
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_AMD_ebx && c == signature_AMD_ecx &&
           d == signature_AMD_edx;
}

// Extended control register 0: the register states that the operating system saves.
std::uint32_t saved_states() {
    std::uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// Linux saves the tiles' state, which is large, only for a process that asks for it.
bool may_use_tiles() {
#    if defined(__linux__)
    constexpr long kRequest = 0x1023, kTileData = 18;
    static const bool may = ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
    return may;
#    else
    return false;
#    endif
}

}  // namespace

bool cpu_supports(std::string_view tier) noexcept {
    if (tier == "scalar") return true;
    std::uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !has(c, bit_OSXSAVE | bit_AVX)) return false;
    const std::uint32_t saved = saved_states();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    if (tier == "avx2") return has(saved, 0x6) && has(b, bit_AVX2);
    if (!has(saved, 0xe6) || !has(b, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL)) return false;
    if (!has(c, bit_AVX512VNNI)) return false;
    if (tier == "avx512") return true;
    if (!has(b, bit_AVX512IFMA) || !has(c, bit_AVX512VBMI2 | bit_GFNI)) return false;
    if (tier == "vbmi2") return true;
    if (tier == "zen4") return is_amd();
    constexpr std::uint32_t kTiles = 0x60000, kTile = 1u << 24, kInt8 = 1u << 25;
    return tier == "amx" && has(saved, kTiles) && has(d, kTile | kInt8) && may_use_tiles();
}

#else

bool cpu_supports(std::string_view tier) noexcept {
#    if defined(__aarch64__)
    if (tier == "neon") return true;
#    endif
    return tier == "scalar";
}

#endif
}  // namespace intact
