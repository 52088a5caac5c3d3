#include "runtime/fixed_scale.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/fixed.h"

namespace intact {
namespace {

constexpr std::int64_t kLargest = 127 * 8191;

// `n` sums of codes times scales, each over 32 / parts codes, rounded to 13 bits; returns the shift.
std::int32_t scaled_sums(const Activations& a, std::int64_t row, int parts, std::int16_t* to, std::int64_t padded) {
    const std::int32_t *halves = a.half_sums + row * a.blocks * 2, *scale = a.scale + row * a.blocks;
    const auto sum = [&](std::int64_t i) {
        return parts == 2 ? halves[i] * scale[i / 2] : (halves[2 * i] + halves[2 * i + 1]) * scale[i];
    };
    const std::int64_t n = a.blocks * parts;
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < n; i++) most = std::max<std::int64_t>(most, std::abs(sum(i)));
    int e = std::max(bits_of(most) - 13, 0);
    if (rshift(most, e) > 8191) e++;
    for (std::int64_t i = 0; i < n; i++) to[i] = static_cast<std::int16_t>(rshift(sum(i), e));
    std::fill(to + n, to + padded, std::int16_t{0});
    return e;
}

}  // namespace

void quantize_fixed(const std::int64_t* x, std::int64_t n, int fraction, const FixedScale& to, const Activations& a,
                    std::int64_t row) {
    const std::int64_t reciprocal = ((1 << 24) + (to.scale >> 1)) / to.scale;
    const int s = to.exponent + fraction;
    std::int8_t* codes = a.codes + row * a.stride;
    std::int32_t *halves = a.half_sums + row * a.blocks * 2, *scale = a.scale + row * a.blocks;
    a.exponent[row] = to.exponent;
    std::fill(scale, scale + a.blocks, static_cast<std::int32_t>(to.scale));
    std::fill(halves, halves + 2 * a.blocks, 0);
    for (std::int64_t i = 0; i < 32 * a.blocks; i++) {
        const std::int64_t value = i < n ? x[i] : 0;
        const std::int64_t code = rshift(std::clamp(shift(value, s), -kLargest, kLargest) * reciprocal, 24);
        codes[i] = static_cast<std::int8_t>(std::clamp<std::int64_t>(code, -127, 127));
        halves[i / 16] += codes[i];
    }
    if (!a.skip_minima32)
        a.minima32_exp[row] = scaled_sums(a, row, 1, a.minima32 + row * a.minima_stride, a.minima_stride);
    if (!a.skip_minima16)
        a.minima16_exp[row] = scaled_sums(a, row, 2, a.minima16 + row * 2 * a.minima_stride, 2 * a.minima_stride);
}

}  // namespace intact
