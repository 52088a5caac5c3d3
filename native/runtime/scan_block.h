// The state-space layer of Mamba-2 (docs/spec/numerics.md, section 8; numerics/scan.py) in plain loops, the same code
// for every tier, and the parts that it shares with the gated delta rule.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <vector>

#include "runtime/fixed.h"

namespace intact {

constexpr std::int64_t kScanBlock = 64;        // positions
constexpr std::int64_t kMostScanStates = 256;  // columns of a head's state

// Sizes of a scan, and the indices of its parameters among the biases. With the delta rule, groups are key heads with
// `states` columns each, and there are no `bias` and `skip`. In a selective scan, heads are channels of width 1 in one
// group, and `rate` has a number for each of their states; its rows come after a convolution, so there are no `bias`
// and `step_bias`. In a recurrence, heads are `selective` channels without groups: a state is two words, and `rate`
// holds 1 minus the forget gate's lower bound. A trapezoidal scan has `angles`, biases of B and C, and the slowest rate
// in place of `bias` and `rate`.
struct ScanForm {
    std::int64_t heads = 0, width = 0, groups = 0, states = 0, taps = 0;
    int bias = -1, step_bias = -1, rate = -1, skip = -1;
    bool delta = false, tiled = false;  // tiled: head h reads key h mod groups
    bool selective = false;
    std::int64_t angles = 0;  // of a head; 0: it is no trapezoidal scan
    int b_bias = -1, c_bias = -1;
    std::int64_t slowest = 0;

    bool by_positions() const { return selective || angles > 0; }  // states are rounded at each
    std::int64_t inner() const { return heads * width; }
    std::int64_t columns() const { return groups * states; }  // of B, and of C; of keys, and of queries
    std::int64_t channels() const { return inner() + 2 * columns(); }
    std::int64_t kept() const { return angles ? 0 : has_values() ? 2 * columns() : channels(); }  // codes of a row
    bool has_values() const { return delta || by_positions(); }  // rows have them in 32 bits
    std::int64_t values() const { return angles ? channels() + 3 * heads + angles : inner(); }
    std::int64_t exponents() const { return delta ? 0 : angles ? inner() : heads; }  // of a state
    std::int64_t group_of(std::int64_t head) const { return tiled ? head % groups : head / (heads / groups); }
};

// A scan's data in a page: rows of positions, then the states after the blocks that end there. In the fp32 profile,
// codes and mantissas are floats.
struct ScanPart {
    std::int64_t start, row;  // bytes of a position
};
struct ScanPages {
    ScanPart raw, mixed, steps, exponents, strengths, values;
    std::int64_t mantissas, state_exponents, angles, counts, bytes = 0;

    std::array<ScanPart, 6> rows() const { return {raw, mixed, steps, exponents, strengths, values}; }
    ScanPages(const ScanForm& form, std::int64_t page_size, bool floats);
};

// One position's row in its page: the input of the convolution; x, B and C, or queries and keys; steps in Q26. The
// delta rule adds each head's write strength, Q30, and the values, Q16, which are later replaced by what was written,
// Q20. In a selective scan, the values are x, Q16; in a trapezoidal one, they are the whole row: x, B, C and the
// controls. In a recurrence, the values are what the state moves towards, Q16, and steps are the share, Q30, or the
// bits of a float in the fp32 profile.
struct ScanRow {
    std::int16_t *raw, *mixed;
    std::uint32_t* steps;
    std::int32_t* exponents;  // of raw, x, B, C
    std::int32_t *strengths, *values;
    float *float_raw, *float_mixed, *float_strengths, *float_values;
};
ScanRow scan_row(const ScanForm& form, const ScanPages& pages, std::uint8_t* base, std::int64_t place, bool floats);

// The state after a block, of all heads.
struct ScanState {
    std::int32_t *mantissas, *exponents;
    float* floats;
    std::uint32_t* angles;  // trapezoidal: fractions of a turn
    std::int32_t* counts;   // by positions: the block's rows that are in a channel's or head's state, 0: none of them
};
ScanState scan_state(const ScanForm& form, const ScanPages& pages, std::uint8_t* base, std::int64_t place);

constexpr std::int64_t kPartLimit = std::int64_t{1} << 40;  // of a result's parts, Q20, before they are added

// Finds the common exponent of numbers with separate exponents, under which the largest has `most` bits.
class Common {
public:
    explicit Common(int most) : most_(most) {}
    void see(std::int64_t x, std::int64_t exponent) {
        if (x == 0) return;
        top_ = any_ ? std::max(top_, bits_of(std::abs(x)) + exponent) : bits_of(std::abs(x)) + exponent;
        any_ = true;
    }
    std::int64_t exponent() const { return any_ ? top_ - most_ : 0; }

private:
    int most_;
    bool any_ = false;
    std::int64_t top_ = 0;
};

// Rounds x to 15 bits and a sign under one exponent, which is returned.
std::int32_t row_codes(const std::int32_t* x, std::int64_t n, std::int16_t* codes);

// 2^-t for t >= 0 in Q30, as Q30 (docs/spec/numerics.md, section 2).
std::int64_t exp2_neg(std::int64_t t);

// The result, Q16, of a channel whose states are rounded at each position: `read`, the sum of states times codes, times
// 2^exponent, plus `through`, D times x (Q32).
std::int32_t scan_result(std::int64_t read, std::int64_t exponent, std::int64_t through);

// ln(1 + exp(x)), Q16 to Q26, below 64.
std::uint32_t softplus(std::int64_t x);
// The same for a number in Q20, of less than 37 bits.
std::uint32_t fine_softplus(std::int64_t x);

inline float step_of(std::uint32_t step) { return static_cast<float>(step) * 0x1p-26f; }
inline float from_q30(std::int64_t x) { return static_cast<float>(static_cast<double>(x) / (1 << 30)); }

// A head's cumulative decay from the block's start to each of its rows, in bits and Q30.
using Decays = std::array<std::int64_t, kScanBlock>;
void add_decays(const std::vector<ScanRow>& rows, std::int64_t head, std::int64_t rate, Decays& to);

// Rows of one block, from its start, and the data that a head needs about them.
class ScanBlock {
public:
    ScanBlock(const ScanForm& form, const std::int64_t* rate, const std::int64_t* skip)
        : form_(form), rate_(rate), skip_(skip) {}
    ScanBlock(const ScanForm& form, const std::int64_t* rate, const float* skip)
        : form_(form), rate_(rate), float_skip_(skip) {}

    // Sets the rows and the state before them (null mantissas: none).
    void read(std::vector<ScanRow> rows, ScanState before);
    // Passes the results of rows first.. of some heads, Q16 or floats, to out(row); stores the state after them if
    // `after` is set.
    template <class F> void run(std::int64_t head0, std::int64_t head1, std::int64_t first, ScanState after, F out);

private:
    // For integers (std::int32_t) or floats.
    template <class T> void enter_group(std::int64_t group, std::int64_t first);
    template <class T> void result(std::int64_t head, std::int64_t t, std::int64_t first, T* out);
    template <class T> void end(std::int64_t head, ScanState after);
    const ScanForm& form_;
    const std::int64_t *rate_, *skip_ = nullptr;
    const float* float_skip_ = nullptr;
    std::vector<ScanRow> rows_;
    ScanState before_{};
    std::vector<std::int64_t> dots_;  // [t - first][s]: of the group's B of row s and C of row t
    std::vector<float> float_dots_;
    Decays decay_{};  // of the head
    std::vector<std::int64_t> sums_;
};

template <> void ScanBlock::enter_group<std::int32_t>(std::int64_t group, std::int64_t first);
template <> void ScanBlock::enter_group<float>(std::int64_t group, std::int64_t first);
template <> void ScanBlock::result(std::int64_t head, std::int64_t t, std::int64_t first, std::int32_t* out);
template <> void ScanBlock::result(std::int64_t head, std::int64_t t, std::int64_t first, float* out);
template <> void ScanBlock::end<std::int32_t>(std::int64_t head, ScanState after);
template <> void ScanBlock::end<float>(std::int64_t head, ScanState after);

template <class F>
void ScanBlock::run(std::int64_t head0, std::int64_t head1, std::int64_t first, ScanState after, F out) {
    using T = std::remove_pointer_t<decltype(out(first))>;
    const auto count = static_cast<std::int64_t>(rows_.size());
    for (std::int64_t head = head0; head < head1; head++) {
        const std::int64_t group = form_.group_of(head);
        if (head == head0 || group != form_.group_of(head - 1)) enter_group<T>(group, first);
        add_decays(rows_, head, rate_[head], decay_);
        for (std::int64_t t = first; t < count; t++) result(head, t, first, out(t) + head * form_.width);
        if (after.mantissas) end<T>(head, after);
    }
}

}  // namespace intact
