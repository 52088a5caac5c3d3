// What GPTQ and descents (quantizers/columns.py, descent.py) spend their time with, in float64: each element sees the
// same operations in the same order as in NumPy's elementwise program there, whatever the threads, so that the bits are
// the same everywhere. Compiled without fused operations (-ffp-contract=off).
#pragma once

#include <cstdint>

#include "formats/convert.h"

namespace intact {

// H = R diag(D) RT with R unit upper triangular. h: K x K, of which the upper triangle is read and becomes R's, without
// its ones; d: K. Returns the first pivot that is not positive, or -1.
std::int64_t factor_upper(double* h, double* d, std::int64_t k, const ParallelFor& parallel_for);

struct Columns {
    std::int64_t rows, columns;
    const double* original;  // rows x columns, like step and offset: in the order in which columns are rounded
    const double* step;
    const double* offset;
    const double* r;  // columns x columns: R of factor_upper
    const double* d;
    const double* levels;  // ascending
    std::int64_t level_count;
    bool even;  // consecutive integers
};

// Rounds columns one after the other: column j to the nearest levels after it has been corrected by what the columns
// before it lost. chosen: rows x columns; left: for each row the sum of d * error^2.
void round_columns(const Columns& c, double* chosen, double* left, const ParallelFor& parallel_for);

struct Descent {
    std::int64_t rows, columns;
    const double* wanted;  // rows x columns, like step, offset, low and high
    const double* step;
    const double* offset;
    const double* low;  // the least and the greatest level that a column may take
    const double* high;
    const double* h;       // columns x columns, symmetric
    const double* levels;  // ascending
    std::int64_t level_count;
    bool even;  // consecutive integers
    std::int64_t sweeps;
};

// Lowers E h ET of each row, E = levels * step + offset - wanted: columns in order, each to its best level, as often as
// `sweeps` says or until none changes. chosen: rows x columns, the levels to start from and those found; errors: E h
// ET.
void descend(const Descent& c, double* chosen, double* errors, const ParallelFor& parallel_for);

}  // namespace intact
