// Kernels of the fp32 profile: IEEE binary32 in one fixed order (docs/spec/numerics_fp32.md). Each tier has a table of
// them, and all tables give the same bits.
#pragma once

#include <cstdint>

#include "formats/formats.h"
#include "kernels/gates.h"

namespace intact {

// A matrix in the checkpoint's format, row by row; block formats are decoded on use.
struct FloatWeight {
    WeightKind kind = WeightKind::F32;
    std::int64_t rows = 0;               // N: outputs
    std::int64_t columns = 0;            // K: inputs
    const std::uint8_t* data = nullptr;  // any alignment
    const float* bias = nullptr;         // [rows], or null
};

// Keys and values of one head: page p of the list holds positions p * page_size onwards, row by row.
struct FloatPages {
    const float* const* keys;
    const float* const* values;
    std::int64_t offset;     // floats from the start of a page to this head's first row
    std::int64_t page_size;  // positions
};

// Strides are in floats. Rows, outputs and heads are independent, so callers may split them over threads.
struct Fp32Kernels {
    // y[m, n] = sum over k of x[m, k] * weight[n, k], + bias[n]; for outputs n0 to n1 - 1 of every row.
    void (*linear)(const FloatWeight& weight, const float* x, std::int64_t m, std::int64_t x_stride, float* y,
                   std::int64_t y_stride, std::int64_t n0, std::int64_t n1);
    // Normalises each of `slices` consecutive runs of `width` floats of each row separately; gain[width]. y may be x.
    void (*rmsnorm)(const float* x, std::int64_t m, std::int64_t x_stride, std::int64_t slices, std::int64_t width,
                    const float* gain, float epsilon, float* y, std::int64_t y_stride);
    // Layer norm of a row of n floats: the norm of the row minus its mean, + bias[n] if not null. y may be x.
    void (*layer_norm)(const float* x, std::int64_t n, const float* gain, const float* bias, float epsilon, float* y);
    // In place on `heads` runs of `width` floats of each row; cosine and sine [m, pairs], 2 * pairs <= width.
    void (*rope)(float* x, std::int64_t m, std::int64_t x_stride, std::int64_t heads, std::int64_t width,
                 const float* cosine, const float* sine, std::int64_t pairs, bool interleaved);
    // One row of queries: `heads` runs of `width` floats that share a key-value head; positions first to last - 1, at
    // least one; `cap` is the soft cap of the scores, or 0 for none. scratch holds attend_scratch(heads, first, last)
    // floats; out has `heads` runs of `width` floats.
    void (*attend)(const float* q, std::int64_t heads, std::int64_t width, const FloatPages& pages, std::int64_t first,
                   std::int64_t last, float scale, float cap, const float* sinks, float* scratch, float* out);
    // y = activation(g) * u; kSwigluOai clips both and adds 1 to u. y may be g or u.
    void (*gate)(GateKind kind, const float* g, const float* u, float* y, std::int64_t n);
    // y = 1 / (1 + exp(-x)). y may be x.
    void (*sigmoid)(const float* x, float* y, std::int64_t n);
    // y = cap * (2 / (1 + exp(-2 / cap * x)) - 1). y may be x.
    void (*soft_cap)(const float* x, float cap, float* y, std::int64_t n);
    // y = e / sum of e, e = exp(x - largest x). y may be x.
    void (*softmax)(const float* x, float* y, std::int64_t n);
    // y = x / (sum of x + least). y may be x.
    void (*divide_by_sum)(const float* x, float least, float* y, std::int64_t n);
    // y += factor * x.
    void (*add_scaled)(const float* x, float factor, float* y, std::int64_t n);
    // y = a + b. y may be a or b.
    void (*add)(const float* a, const float* b, float* y, std::int64_t n);
    // y = a * b. y may be a or b.
    void (*multiply)(const float* a, const float* b, float* y, std::int64_t n);
    // In place on blocks of `size`, a divisor of n: sums and differences of floats half apart, for half = 1, 2, 4, ...
    void (*hadamard)(float* x, std::int64_t n, std::int64_t size);
    // y[i] = weight[ids[i]] * scale.
    void (*embed)(const FloatWeight& weight, const std::int32_t* ids, std::int64_t m, float scale, float* y,
                  std::int64_t y_stride);
    // y = exp(x). y may be x.
    void (*exp)(const float* x, float* y, std::int64_t n);
    // y = x / 2^30, rounded to nearest.
    void (*from_q30)(const std::int32_t* x, float* y, std::int64_t n);
    // Decodes rows row0 to row1 - 1 of the matrix at `source` to out[0] onwards.
    void (*dequantize)(WeightKind kind, const std::uint8_t* source, std::int64_t columns, std::int64_t row0,
                       std::int64_t row1, float* out);
};

// Number of scratch floats for attend.
constexpr std::int64_t attend_scratch(std::int64_t heads, std::int64_t first, std::int64_t last) {
    return heads * (((last + 15) / 16 - first / 16) * 16);
}

}  // namespace intact
