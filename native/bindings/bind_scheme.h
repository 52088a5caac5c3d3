// Grids for rows that come from Python.
#pragma once

#include <stdexcept>

#include "kernels/kernels.h"

namespace intact {

// Refuses a grid with a code that would not fit a byte.
inline Scheme checked(const Scheme& scheme) {
    const bool fits = scheme.largest >= 1 && scheme.largest <= 127 && scheme.step_bits >= 0 && scheme.step_bits <= 6 &&
                      scheme.mantissa >= 1 && scheme.mantissa <= 7;
    if (!fits) throw std::invalid_argument("a scheme's codes lie in -127 to 127");
    return scheme;
}

}  // namespace intact
