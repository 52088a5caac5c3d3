#include "formats/solve.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace intact {
namespace {

constexpr std::int64_t kPanel = 64;  // columns that are taken together
constexpr std::int64_t kRows = 16;   // rows of a task

// x -= sum of factors[p] * vectors[p] for x[from..to), one product after the other.
void subtract_in_order(double* x, const double* factors, const double* const* vectors, std::int64_t count,
                       std::int64_t from, std::int64_t to) {
    constexpr std::int64_t kWidth = 16;
    for (std::int64_t j = from; j < to; j += kWidth) {
        const std::int64_t width = std::min(kWidth, to - j);
        double sums[kWidth] = {};
        std::copy_n(x + j, width, sums);
        for (std::int64_t p = 0; p < count; p++) {
            const double factor = factors[p];
            const double* const vector = vectors[p] + j;
            if (width == kWidth)
                for (std::int64_t i = 0; i < kWidth; i++) sums[i] -= factor * vector[i];
            else
                for (std::int64_t i = 0; i < width; i++) sums[i] -= factor * vector[i];
        }
        std::copy_n(sums, width, x + j);
    }
}

// The grid level nearest to a ratio, for the grid fields of Columns and Descent.
template <typename Problem> double nearest(double ratio, const Problem& c, const std::vector<double>& middles) {
    if (c.even) return std::clamp(std::floor(ratio + 0.5), c.levels[0], c.levels[c.level_count - 1]);
    return c.levels[std::upper_bound(middles.begin(), middles.end(), ratio) - middles.begin()];
}

template <typename Problem> std::vector<double> middles_of(const Problem& c) {
    std::vector<double> middles;
    for (std::int64_t i = 0; i + 1 < c.level_count; i++) middles.push_back((c.levels[i + 1] + c.levels[i]) / 2);
    return middles;
}

// Computes the negated products of a row's errors with h.
void slopes_of(const double* error, const Descent& c, double* less) {
    std::fill_n(less, c.columns, 0.0);
    for (std::int64_t begin = 0; begin < c.columns; begin += kPanel) {
        const std::int64_t count = std::min(kPanel, c.columns - begin);
        const double* vectors[kPanel];
        for (std::int64_t p = 0; p < count; p++) vectors[p] = c.h + (begin + p) * c.columns;
        subtract_in_order(less, error + begin, vectors, count, 0, c.columns);
    }
}

}  // namespace

std::int64_t factor_upper(double* h, double* d, std::int64_t k, const ParallelFor& parallel_for) {
    // Rows that hold column `kk` of the matrix as it was when it was processed; other rows are corrected with it.
    std::vector<double> turns(static_cast<std::size_t>(kPanel * k));
    for (std::int64_t end = k; end > 0; end -= std::min(end, kPanel)) {
        const std::int64_t begin = std::max<std::int64_t>(0, end - kPanel), count = end - begin;
        const double* vectors[kPanel];  // of columns end - 1, end - 2, ..., begin
        for (std::int64_t p = 0; p < count; p++) {
            const std::int64_t kk = end - 1 - p;
            double* const turn = turns.data() + p * k;
            vectors[p] = turn;
            d[kk] = h[kk * k + kk];
            if (!(d[kk] > 0)) return kk;
            for (std::int64_t i = 0; i < kk; i++) {
                turn[i] = h[i * k + kk];
                h[i * k + kk] = turn[i] / d[kk];
            }
            // The other columns of this panel, as far as they are above the diagonal.
            for (std::int64_t i = 0; i < kk; i++) {
                const double factor = h[i * k + kk];
                double* const row = h + i * k;
                for (std::int64_t j = std::max(i, begin); j < kk; j++) row[j] -= factor * turn[j];
            }
        }
        parallel_for((begin + kRows - 1) / kRows, [&](std::int64_t task) {
            double factors[kPanel];
            for (std::int64_t i = task * kRows; i < std::min(begin, (task + 1) * kRows); i++) {
                for (std::int64_t p = 0; p < count; p++) factors[p] = h[i * k + end - 1 - p];
                subtract_in_order(h + i * k, factors, vectors, count, i, begin);
            }
        });
    }
    return -1;
}

void round_columns(const Columns& c, double* chosen, double* left, const ParallelFor& parallel_for) {
    const std::vector<double> middles = middles_of(c);
    parallel_for((c.rows + kRows - 1) / kRows, [&](std::int64_t task) {
        const std::int64_t first = task * kRows, rows = std::min(kRows, c.rows - first);
        std::vector<double> room(static_cast<std::size_t>(rows * c.columns)),
            lost(static_cast<std::size_t>(rows * kPanel));
        std::copy_n(c.original + first * c.columns, rows * c.columns, room.data());
        std::fill_n(left + first, rows, 0.0);
        for (std::int64_t begin = 0; begin < c.columns; begin += kPanel) {
            const std::int64_t count = std::min(kPanel, c.columns - begin), end = begin + count;
            const double* vectors[kPanel];
            for (std::int64_t p = 0; p < count; p++) vectors[p] = c.r + (begin + p) * c.columns;
            for (std::int64_t n = 0; n < rows; n++) {
                double* const wanted = room.data() + n * c.columns;
                double* const losses = lost.data() + n * kPanel;
                for (std::int64_t p = 0; p < count; p++) {
                    const std::int64_t j = begin + p, at = (first + n) * c.columns + j;
                    const double level = nearest((wanted[j] - c.offset[at]) / c.step[at], c, middles);
                    const double value = level * c.step[at] + c.offset[at], error = wanted[j] - value;
                    chosen[at] = level;
                    left[first + n] += c.d[j] * (error * error);
                    losses[p] = value - c.original[at];  // subtracted below: what was lost is added
                    for (std::int64_t later = j + 1; later < end; later++)
                        wanted[later] -= losses[p] * vectors[p][later];
                }
            }
            for (std::int64_t n = 0; n < rows; n++)
                subtract_in_order(room.data() + n * c.columns, lost.data() + n * kPanel, vectors, count, end,
                                  c.columns);
        }
    });
}

void descend(const Descent& c, double* chosen, double* errors, const ParallelFor& parallel_for) {
    const std::vector<double> middles = middles_of(c);
    parallel_for(c.rows, [&](std::int64_t row) {
        const std::int64_t first = row * c.columns;
        double* const level = chosen + first;
        const double *const step = c.step + first, *const offset = c.offset + first;
        std::vector<double> error(static_cast<std::size_t>(c.columns)), less(error.size());
        const auto measure = [&] {
            for (std::int64_t k = 0; k < c.columns; k++)
                error[k] = level[k] * step[k] + offset[k] - c.wanted[first + k];
            slopes_of(error.data(), c, less.data());
        };
        measure();
        bool changed = true;
        for (std::int64_t sweep = 0; sweep < c.sweeps && changed; sweep++) {
            changed = false;
            for (std::int64_t k = 0; k < c.columns; k++) {
                const double* const h = c.h + k * c.columns;
                const double target = level[k] * step[k] + offset[k] + less[k] / h[k];
                const double best = std::clamp(nearest((target - offset[k]) / step[k], c, middles), c.low[first + k],
                                               c.high[first + k]);
                const double move = (best - level[k]) * step[k];
                if (!(move * (move * h[k] - 2 * less[k]) < 0)) continue;
                level[k] = best;
                for (std::int64_t j = 0; j < c.columns; j++) less[j] -= move * h[j];
                changed = true;
            }
        }
        measure();
        double sum = 0;
        for (std::int64_t k = 0; k < c.columns; k++) sum -= error[k] * less[k];
        errors[row] = sum;
    });
}

}  // namespace intact
