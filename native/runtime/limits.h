// Measured peak performance of this machine, with which profiles are compared.
#pragma once

#include "kernels/kernels.h"

namespace intact {

struct Limits {
    double multiply_adds;  // a second, 8-bit products of one thread
    double bytes;          // a second, read from memory by all threads
};

Limits measure_limits(const Kernels& kernels, int threads);

}  // namespace intact
