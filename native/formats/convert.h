// Conversion of checkpoint tensors to integer weights: the same integers as in intact.numerics.weights.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "formats/formats.h"
#include "runtime/weight.h"

namespace intact {

// Runs task(0) ... task(tasks - 1) in any order and on any threads, and returns when all are done.
using ParallelFor = std::function<void(std::int64_t tasks, const std::function<void(std::int64_t)>& task)>;

// The first weight or scale, in row-major order, that is NaN or infinite; in block formats, the block's first column.
struct NotFinite {
    std::int64_t row;
    std::int64_t column;
};

struct Converted {
    Weight weight;
    std::optional<NotFinite> error;  // weight is meaningless when set
};

// Converts `rows` x `columns` values at `source` (any alignment; source_bytes() of them). Block formats keep their
// codes; floats become codes of `bits` 8 or 4, which block formats ignore. In block formats, the number of columns must
// be a multiple of the block. One task is one panel of 16 rows.
Converted convert(const WeightFormat& format, const std::uint8_t* source, std::int64_t rows, std::int64_t columns,
                  int bits, const ParallelFor& parallel_for);

// A weight's integers, row by row; K is padded to a multiple of 32 (intact.numerics.weights.BlockWeight).
struct IntegerRows {
    std::int64_t rows, columns;
    int bits, block, zero, shift;
    const std::int16_t* table;  // Weight::entries(bits), or null
    const std::uint8_t* codes;  // rows x padded columns
    const std::int16_t* scale;  // rows x blocks
    const std::int32_t* scale_exp;
    const std::int16_t* minimum;  // or null, and so its exponents
    const std::int32_t* minimum_exp;
};

// Packs them into panels. (bits, block) must be a combination with kernels, and codes must be below 2^bits.
Weight pack_integers(const IntegerRows& source, const ParallelFor& parallel_for);

// Decodes row n: T[code] - zero for every padded column, and the row's scales and minima (blocks of `weight.block`).
// Null outputs are skipped.
void unpack_row(const Weight& weight, std::int64_t n, std::int32_t* centred, std::int16_t* scales,
                std::int16_t* minima);

// Decodes row n's codes as stored (before T and zero), one byte per padded column.
void unpack_codes(const Weight& weight, std::int64_t n, std::uint8_t* codes);

}  // namespace intact
