#include "kernels/fp32.h"

namespace intact {
namespace {

constexpr FloatFormat kFormats[] = {
    {"F32", FloatKind::kF32, 1, 4},           {"F16", FloatKind::kF16, 1, 2},
    {"BF16", FloatKind::kBF16, 1, 2},         {"Q4_0", FloatKind::kQ4_0, 32, 18},
    {"Q4_1", FloatKind::kQ4_1, 32, 20},       {"Q5_0", FloatKind::kQ5_0, 32, 22},
    {"Q5_1", FloatKind::kQ5_1, 32, 24},       {"Q8_0", FloatKind::kQ8_0, 32, 34},
    {"Q2_K", FloatKind::kQ2_K, 256, 84},      {"Q3_K", FloatKind::kQ3_K, 256, 110},
    {"Q4_K", FloatKind::kQ4_K, 256, 144},     {"Q5_K", FloatKind::kQ5_K, 256, 176},
    {"Q6_K", FloatKind::kQ6_K, 256, 210},     {"IQ4_NL", FloatKind::kIQ4_NL, 32, 18},
    {"IQ4_XS", FloatKind::kIQ4_XS, 256, 136}, {"TQ1_0", FloatKind::kTQ1_0, 256, 54},
    {"TQ2_0", FloatKind::kTQ2_0, 256, 66},    {"MXFP4", FloatKind::kMXFP4, 32, 17},
};

}  // namespace

const FloatFormat* float_format(std::string_view name) noexcept {
    for (const FloatFormat& format : kFormats) {
        if (format.name == name) return &format;
    }
    return nullptr;
}

const FloatFormat& float_format(FloatKind kind) noexcept {
    const FloatFormat* format = kFormats;
    while (format->kind != kind) format++;
    return *format;
}

}  // namespace intact
