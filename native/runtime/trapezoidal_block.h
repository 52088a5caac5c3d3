// Mamba-3's trapezoidal scan (docs/spec/numerics.md, section 8; numerics/trapezoidal.py) in plain loops: the state of
// each channel of a head is rounded at every position, and an accumulating angle rotates keys and queries.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/fp32.h"
#include "kernels/kernels.h"
#include "runtime/scan_block.h"

namespace intact {

// Parameters of the heads: integers in Q16, except dt's bias in Q20; for the fp32 profile, the biases of B and C and D
// as floats.
struct TrapezoidalWeights {
    const std::int64_t *step_bias, *b_bias, *c_bias, *skip;
    const float *float_b_bias, *float_c_bias, *float_skip;
    const Kernels* kernel;
    const Fp32Kernels* float_kernel;
};

// Rows of one block, and the heads whose states advance from one row to the next.
class TrapezoidalBlock {
public:
    TrapezoidalBlock(const ScanForm& form, const TrapezoidalWeights& weights)
        : form_(form),
          weights_(weights),
          state_(static_cast<std::size_t>(form.width * form.states)),
          floats_(state_.size()),
          exponent_(static_cast<std::size_t>(form.width)),
          angle_(static_cast<std::size_t>(form.angles)),
          turns_(angle_.size()),
          sine_(angle_.size()),
          cosine_(angle_.size()),
          float_sine_(angle_.size()),
          float_cosine_(angle_.size()) {}

    // Sets the row before the first one to be read; null values mean there is none.
    void follow(const ScanRow& row) { previous_ = row; }
    // Sets consecutive rows and the state before them (null mantissas: none).
    void read(std::vector<ScanRow> rows, ScanState before) {
        rows_ = std::move(rows);
        before_ = before;
    }
    // Passes the results of rows first.. of some heads, Q16 or floats, to out(row); stores the state after them if
    // `after` is set, which may be the state before.
    template <class F> void run(std::int64_t begin, std::int64_t end, std::int64_t first, ScanState after, F out) {
        using T = std::remove_pointer_t<decltype(out(first))>;
        turn_rows<T>();
        for (std::int64_t head = begin; head < end; head++) {
            enter<T>(head);
            for (std::int64_t t = 0; t < std::ssize(rows_); t++) {
                advance<T>(head, t);
                if (t >= first) result<T>(head, t, out(t) + head * form_.width);
            }
            if (after.mantissas) leave<T>(head, after);
        }
    }

private:
    // The parts of a row: x, B, C and the controls (dt, A and the share of each head, then the angles).
    template <class T> struct Parts {
        const T *x, *b, *c, *controls;
    };
    template <class T> Parts<T> parts(const ScanRow& row) const {
        const T* const x = reinterpret_cast<const T*>(row.values);
        const T* const b = x + form_.inner();
        return {x, b, b + form_.columns(), b + 2 * form_.columns()};
    }
    // A head's parameters at a position: the step in Q26 and the decay of the state, Q30; a and dt in Q20.
    struct Pace {
        std::int64_t step, kept;
    };
    Pace pace(std::int64_t head, std::int64_t dt, std::int64_t a) const;
    // Advances the angles of row t by a step, and computes their sines and cosines.
    void turn(std::int64_t t, std::int64_t step);
    void find_sines();

    // For integers (std::int32_t) or floats.
    template <class T> void turn_rows();  // tanh of the angles of all rows
    template <class T> void enter(std::int64_t head);
    template <class T> void advance(std::int64_t head, std::int64_t t);
    template <class T> void result(std::int64_t head, std::int64_t t, T* out);
    template <class T> void leave(std::int64_t head, ScanState after) const;

    // Columns of a head's B or C, plus a bias and rotated: codes under one exponent, and the largest of them.
    struct Codes {
        std::int16_t values[kMostScanStates];
        std::int32_t exponent;
        std::int64_t most;
    };
    void encode(std::int64_t head, const std::int32_t* row, const std::int64_t* bias, Codes& to) const;
    void turn_floats(std::int64_t head, const float* row, const float* bias, float* to) const;

    const ScanForm& form_;
    TrapezoidalWeights weights_;
    std::vector<ScanRow> rows_;
    ScanRow previous_{};
    ScanState before_{};
    std::vector<std::int64_t> tanh_;  // [row][angle], Q30
    std::vector<std::int32_t> state_;
    std::vector<float> floats_;
    std::vector<std::int32_t> exponent_;
    std::vector<std::uint32_t> angle_;  // fractions of a turn
    std::vector<std::uint64_t> turns_;
    std::vector<std::int32_t> sine_, cosine_;
    std::vector<float> float_sine_, float_cosine_;
    Codes keys_[2] = {};  // of the position before, and of the one at hand
    float float_keys_[2][kMostScanStates] = {};
};

template <> void TrapezoidalBlock::turn_rows<std::int32_t>();
template <> void TrapezoidalBlock::turn_rows<float>();
template <> void TrapezoidalBlock::enter<std::int32_t>(std::int64_t head);
template <> void TrapezoidalBlock::enter<float>(std::int64_t head);
template <> void TrapezoidalBlock::advance<std::int32_t>(std::int64_t head, std::int64_t t);
template <> void TrapezoidalBlock::advance<float>(std::int64_t head, std::int64_t t);
template <> void TrapezoidalBlock::result(std::int64_t head, std::int64_t t, std::int32_t* out);
template <> void TrapezoidalBlock::result(std::int64_t head, std::int64_t t, float* out);
template <> void TrapezoidalBlock::leave<std::int32_t>(std::int64_t head, ScanState after) const;
template <> void TrapezoidalBlock::leave<float>(std::int64_t head, ScanState after) const;

}  // namespace intact
