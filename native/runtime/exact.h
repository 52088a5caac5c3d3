// Products of activations whose codes do not fit in a byte: exact, in plain loops (numerics/exact_product.py).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "kernels/kernels.h"
#include "runtime/weight.h"

namespace intact {

inline bool has_wide_codes(const std::optional<Scheme>& scheme) { return scheme && scheme->largest > 127; }
// The largest code of a scheme with wide codes; `Scheme::largest` counts units of 2^step_bits.
inline std::int64_t largest_code(const Scheme& scheme) { return std::int64_t{scheme.largest} << scheme.step_bits; }
// If true, a code has two limbs, high * 2^16 + low, both with the code's sign.
inline bool has_limbs(const Scheme& scheme) { return scheme.step_bits > 0; }

// A row of n inputs in int32: codes or their low limbs, and the high limbs; scales of blocks of 32; their rounded sums
// for minima of 32 and of 16 inputs; then the exponent, and the exponents of the sums.
struct WideRow {
    std::int32_t *codes, *high, *scale, *sums32, *sums16, *exponents;

    WideRow(std::int32_t* from, std::int64_t n) {
        const std::int64_t blocks = (n + 31) / 32;
        codes = from;
        high = codes + 32 * blocks;
        scale = high + 32 * blocks;
        sums32 = scale + blocks;
        sums16 = sums32 + blocks;
        exponents = sums16 + 2 * blocks;
    }
    static std::int64_t ints(std::int64_t n) { return (n + 31) / 32 * 68 + 3; }
};

// Quantises n integers with `fraction` fraction bits.
void quantize_wide_codes(const std::int64_t* x, std::int64_t n, int fraction, const Scheme& scheme, std::int32_t* to);

// One output of a weight, read once for many rows.
class ExactOutput {
public:
    ExactOutput(const Weight& weight, const Scheme& scheme);
    ~ExactOutput();
    void read(std::int64_t output);
    // The product with a row, with `fraction` fraction bits, before the bias.
    std::int64_t times(std::int32_t* row, int fraction) const;

private:
    struct Parts;
    const Weight& weight_;
    bool limbs_;  // of the rows' codes
    int drop_;    // bits of products of scales that are rounded off
    std::unique_ptr<Parts> parts_;
};

}  // namespace intact
