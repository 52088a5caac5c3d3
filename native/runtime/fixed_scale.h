// Quantisation of product inputs by a scale from calibration, the same for all rows (numerics/activations.py).
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace intact {

// x is approximately code * scale * 2^exponent; scale is from 1 to 8191.
struct FixedScale {
    std::int64_t scale;
    int exponent;
};

// Quantises n integers with `fraction` fraction bits to row `row`; clips values above 127 * scale * 2^exponent.
void quantize_fixed(const std::int64_t* x, std::int64_t n, int fraction, const FixedScale& to, const Activations& a,
                    std::int64_t row);

}  // namespace intact
