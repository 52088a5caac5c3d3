// The hot loops of GPTQ and of coordinate descent (quantizers/columns.py, descent.py), in float64. Each element sees
// the same operations in the same order as in NumPy's elementwise program, for any number of threads, so the bits are
// the same everywhere. Compiled without fused operations (-ffp-contract=off).
#pragma once

#include <cstdint>

#include "formats/convert.h"

namespace intact {

// Factors H = R diag(D) RT with R unit upper triangular. h: K x K; its upper triangle is read and overwritten by R
// without the unit diagonal; d: K. Returns the index of the first pivot that is not positive, or -1.
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

// Rounds columns in order: column j to the nearest levels, after correcting it for the errors of the earlier columns.
// chosen: rows x columns; left: the sum of d * error^2 for each row.
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

// Lowers E h ET of each row, E = levels * step + offset - wanted, by moving each column in order to its best level, for
// `sweeps` sweeps or until nothing changes. chosen: rows x columns, the initial levels on entry, the result on exit;
// errors: E h ET.
void descend(const Descent& c, double* chosen, double* errors, const ParallelFor& parallel_for);

}  // namespace intact
