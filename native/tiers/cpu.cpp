#include "tiers/cpu.h"

#if defined(__x86_64__)
#    include <cpuid.h>
#endif

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <stdexcept>
#include <string>

#include "system.h"

namespace intact {
namespace {

#if defined(__x86_64__)

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

// The processor's CPUID features, and the register states that its operating system saves.
struct Facts {
    std::uint32_t b, c, d, saved;
};

struct Feature {
    std::string_view name;
    std::uint32_t Facts::* word;
    std::uint32_t bits;
    std::uint32_t states;
    bool (*also)() = nullptr;
};

constexpr std::uint32_t kVectors = 0x6, kMasks = 0xe6, kTiles = 0x60000;
constexpr Feature kFeatures[] = {
    {"avx", &Facts::b, 0, kVectors},
    {"avx2", &Facts::b, bit_AVX2, kVectors},
    {"avx512f", &Facts::b, bit_AVX512F, kMasks},
    {"avx512bw", &Facts::b, bit_AVX512BW, kMasks},
    {"avx512vl", &Facts::b, bit_AVX512VL, kMasks},
    {"avx512dq", &Facts::b, bit_AVX512DQ, kMasks},
    {"avx512vnni", &Facts::c, bit_AVX512VNNI, kMasks},
    {"avx512ifma", &Facts::b, bit_AVX512IFMA, kMasks},
    {"avx512vbmi2", &Facts::c, bit_AVX512VBMI2, kMasks},
    {"gfni", &Facts::c, bit_GFNI, 0},
    {"amd", &Facts::b, 0, 0, is_amd},
    {"amx-tile", &Facts::d, 1u << 24, kTiles},
    {"amx-int8", &Facts::d, 1u << 25, kTiles, system::use_tiles},
};

bool has_one(std::string_view name) {
    const Feature* const feature =
        std::find_if(std::begin(kFeatures), std::end(kFeatures), [&](const Feature& f) { return f.name == name; });
    if (feature == std::end(kFeatures))
        throw std::invalid_argument("native/tiers/cpu.cpp cannot tell whether a processor has " + std::string(name));
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !has(c, bit_OSXSAVE | bit_AVX)) return false;
    Facts facts{0, 0, 0, saved_states()};
    if (__get_cpuid_count(7, 0, &a, &facts.b, &facts.c, &facts.d) == 0) return false;
    return has(facts.saved, feature->states) && has(facts.*feature->word, feature->bits) &&
           (feature->also == nullptr || feature->also());
}

#elif defined(__wasm__)

// An engine without SIMD128 cannot compile a module that uses it, so a running module has it.
bool has_one(std::string_view name) {
    if (name == "simd128") return true;
    throw std::invalid_argument("native/tiers/cpu.cpp cannot tell whether an engine has " + std::string(name));
}

#else

bool has_one(std::string_view name) {
    throw std::invalid_argument("native/tiers/cpu.cpp cannot tell whether a processor has " + std::string(name));
}

#endif

}  // namespace

bool cpu_has(std::string_view features) {
    while (!features.empty()) {
        const std::size_t end = std::min(features.find(' '), features.size());
        if (!has_one(features.substr(0, end))) return false;
        features.remove_prefix(std::min(end + 1, features.size()));
    }
    return true;
}

}  // namespace intact
