// Validates quantisation grids that come from Python.
#pragma once

#include <stdexcept>

#include "kernels/kernels.h"

namespace intact {

// Rejects a grid to which no row could be quantised. Codes larger than a byte require power-of-two scales
// (runtime/exact.h) and must not exceed 2^32.
inline Scheme checked(const Scheme& scheme) {
    const bool wide = scheme.largest > 127 && scheme.power && !scheme.whole_row;
    const bool fits = scheme.largest >= 1 && scheme.largest <= (wide ? 1 << 18 : 127) && scheme.step_bits >= 0 &&
                      scheme.step_bits <= (wide ? 14 : 6) && scheme.mantissa >= 1 && scheme.mantissa <= 7;
    if (!fits) throw std::invalid_argument("a scheme's codes lie in -127 to 127, or are floats up to 2^32");
    return scheme;
}

}  // namespace intact
