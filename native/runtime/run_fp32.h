// One thread's run of a step in the fp32 profile (docs/spec/numerics_fp32.md), and helpers that operations share.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/run.h"

namespace intact {

struct Fp32Run : Run {
    Fp32Run(Model& model_, Step& step_, int thread_) : Run(model_, step_, thread_), kernel(*model_.float_kernel) {}
    void run();

    float* data(int buffer, std::int64_t m) const { return row<float>(buffer, m); }
    // Computes some outputs of one row of a product.
    void product(const LinearTarget& target, const float* x, std::int64_t width, float* y, Span outputs) const;

    const Fp32Kernels& kernel;
    std::vector<float> sums;  // room for the operation at hand
};

}  // namespace intact
