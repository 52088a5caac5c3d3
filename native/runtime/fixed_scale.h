// Rows that enter a product by a scale from calibration, the same for all of them (numerics/activations.py).
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace intact {

// x is about code * scale * 2^exponent; scale from 1 to 8191.
struct FixedScale {
    std::int64_t scale;
    int exponent;
};

// Quantises n integers with so many fraction bits to row `row`; larger ones than 127 * scale * 2^exponent are clipped.
void quantize_fixed(const std::int64_t* x, std::int64_t n, int fraction, const FixedScale& to, const Activations& a,
                    std::int64_t row);

}  // namespace intact
