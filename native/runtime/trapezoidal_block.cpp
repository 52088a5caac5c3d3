#include "runtime/trapezoidal_block.h"

#include <algorithm>
#include <cstdlib>

#include "runtime/fixed.h"

namespace intact {
namespace {

constexpr std::int64_t kLog2E = 1549082005;

// tanh(x), Q16 to Q30.
std::int64_t tanh_of(std::int64_t x) {
    const std::int64_t e = exp2_neg(rshift(std::min<std::int64_t>(std::abs(x), 1 << 20) * kLog2E, 15));
    const std::int64_t size = ((kOne30 - e) << 30) / (kOne30 + e);
    return x < 0 ? -size : size;
}

// Number of bits by which a step decays, Q30.
std::int64_t decay(std::int64_t step, std::int64_t a, std::int64_t slowest) {
    constexpr std::int64_t kOne = 1 << 20;
    if (a >= 0) return rshift(step * std::min(rshift(std::min(kOne + a, 710 * kOne) * kLog2E, 30), kOne30 - 1), 16);
    return rshift(step * std::max((kLog2E << 19) / (kOne - a), slowest), 25);
}

// A step times x, as the factor of codes, and the exponent of a product.
struct Input {
    std::int64_t value, place;
};
Input input(std::int64_t step, std::int64_t x, std::int64_t exponent) {
    const std::int64_t whole = step * x;
    const int drop = std::max(bits_of(std::abs(whole)) - 47, 0);
    return {rshift(whole, drop), drop + exponent - 58};
}

// `shift` by a common s, without a branch, for numbers that never need to saturate.
class Mover {
public:
    explicit Mover(std::int64_t s)
        : left_(static_cast<int>(std::clamp<std::int64_t>(-s, 0, 31))),
          right_(static_cast<int>(std::clamp<std::int64_t>(s, 0, 63))),
          half_(right_ == 0 ? 0 : std::int64_t{1} << (right_ - 1)) {}
    std::int64_t operator()(std::int64_t x) const { return ((x << left_) + half_) >> right_; }

private:
    int left_, right_;
    std::int64_t half_;
};

}  // namespace

TrapezoidalBlock::Pace TrapezoidalBlock::pace(std::int64_t head, std::int64_t dt, std::int64_t a) const {
    const std::int64_t step = fine_softplus(dt + weights_.step_bias[head]);
    return {step, exp2_neg(decay(step, a, form_.slowest))};
}

void TrapezoidalBlock::turn(std::int64_t t, std::int64_t step) {
    for (std::int64_t i = 0; i < form_.angles; i++)
        angle_[static_cast<std::size_t>(i)] +=
            static_cast<std::uint32_t>(rshift(tanh_[static_cast<std::size_t>(t * form_.angles + i)] * step, 25));
    find_sines();
}

void TrapezoidalBlock::find_sines() {
    std::transform(angle_.begin(), angle_.end(), turns_.begin(), [](std::uint64_t angle) { return angle << 32; });
    weights_.kernel->sine_cosine(1, turns_.data(), form_.angles, sine_.data(), cosine_.data());
}

void TrapezoidalBlock::encode(std::int64_t head, const std::int32_t* row, const std::int64_t* bias, Codes& to) const {
    const std::int64_t states = form_.states;
    std::int32_t values[kMostScanStates];
    const std::int32_t* const from = row + form_.group_of(head) * states;
    for (std::int64_t n = 0; n < states; n++)
        values[n] = static_cast<std::int32_t>(sat32(from[n] + bias[head * states + n]));
    weights_.kernel->rotate(values, sine_.data(), cosine_.data(), form_.angles, true);
    to.exponent = row_codes(values, states, to.values);
    to.most = 0;
    for (std::int64_t n = 0; n < states; n++) to.most = std::max<std::int64_t>(to.most, std::abs(to.values[n]));
}

template <> void TrapezoidalBlock::turn_rows<std::int32_t>() {
    tanh_.clear();
    for (const ScanRow& row : rows_) {
        const std::int32_t* const angles = parts<std::int32_t>(row).controls + 3 * form_.heads;
        for (std::int64_t i = 0; i < form_.angles; i++) tanh_.push_back(tanh_of(angles[i]));
    }
}

template <> void TrapezoidalBlock::enter<std::int32_t>(std::int64_t head) {
    const std::int64_t size = form_.width * form_.states;
    if (before_.mantissas) {
        std::copy_n(before_.mantissas + head * size, size, state_.data());
        std::copy_n(before_.exponents + head * form_.width, form_.width, exponent_.data());
        std::copy_n(before_.angles + head * form_.angles, form_.angles, angle_.data());
    } else {
        std::fill(state_.begin(), state_.end(), 0);
        std::fill(exponent_.begin(), exponent_.end(), 0);
        std::fill(angle_.begin(), angle_.end(), 0u);
    }
    if (!previous_.values) return;
    find_sines();
    encode(head, parts<std::int32_t>(previous_).b, weights_.b_bias, keys_[0]);
}

template <> void TrapezoidalBlock::advance<std::int32_t>(std::int64_t head, std::int64_t t) {
    const std::int64_t states = form_.states;
    const ScanRow& last = t == 0 ? previous_ : rows_[static_cast<std::size_t>(t - 1)];
    const Parts<std::int32_t> row = parts<std::int32_t>(rows_[static_cast<std::size_t>(t)]);
    const auto [step, kept] =
        pace(head, std::int64_t{row.controls[head]} * 16, std::int64_t{row.controls[form_.heads + head]} * 16);
    std::int32_t own = 0;
    weights_.kernel->sigmoid(row.controls + 2 * form_.heads + head, 1, &own);
    const std::int64_t now = rshift(own * step, 30);
    const std::int64_t late = last.values ? rshift(rshift((kOne30 - own) * step, 30) * kept, 30) : 0;
    turn(t, step);
    const Codes& old = keys_[t % 2];
    Codes& key = keys_[(t + 1) % 2];
    encode(head, row.b, weights_.b_bias, key);
    const std::int32_t* const x = row.x + head * form_.width;
    const std::int32_t* const old_x = late ? parts<std::int32_t>(last).x + head * form_.width : x;
    std::int64_t decayed[kMostScanStates];
    for (std::int64_t p = 0; p < form_.width; p++) {
        std::int32_t* const state = state_.data() + p * states;
        std::int32_t& exponent = exponent_[static_cast<std::size_t>(p)];
        std::int64_t bits = 0;  // those of the largest
        for (std::int64_t n = 0; n < states; n++) {
            decayed[n] = state[n] * kept;
            bits |= std::abs(decayed[n]);
        }
        const Input from_old = input(late, old_x[p], old.exponent), from_new = input(now, x[p], key.exponent);
        const std::int64_t place = std::int64_t{exponent} - 30;
        Common all(29);
        all.see(bits, place);
        all.see(std::abs(from_old.value) * old.most, from_old.place);
        all.see(std::abs(from_new.value) * key.most, from_new.place);
        exponent = static_cast<std::int32_t>(all.exponent());
        const Mover old_state(exponent - place), old_input(exponent - from_old.place),
            new_input(exponent - from_new.place);
        for (std::int64_t n = 0; n < states; n++)
            state[n] = static_cast<std::int32_t>(old_state(decayed[n]) + old_input(from_old.value * old.values[n]) +
                                                 new_input(from_new.value * key.values[n]));
    }
}

template <> void TrapezoidalBlock::result(std::int64_t head, std::int64_t t, std::int32_t* out) {
    const Parts<std::int32_t> row = parts<std::int32_t>(rows_[static_cast<std::size_t>(t)]);
    Codes query;
    encode(head, row.c, weights_.c_bias, query);
    const std::int32_t* const x = row.x + head * form_.width;
    for (std::int64_t p = 0; p < form_.width; p++) {
        const std::int32_t* const state = state_.data() + p * form_.states;
        std::int64_t read = 0;
        for (std::int64_t n = 0; n < form_.states; n++) read += std::int64_t{state[n]} * query.values[n];
        out[p] = scan_result(read, exponent_[static_cast<std::size_t>(p)] + query.exponent, weights_.skip[head] * x[p]);
    }
}

template <> void TrapezoidalBlock::leave<std::int32_t>(std::int64_t head, ScanState after) const {
    const std::int64_t size = form_.width * form_.states;
    std::copy_n(state_.data(), size, after.mantissas + head * size);
    std::copy_n(exponent_.data(), form_.width, after.exponents + head * form_.width);
    std::copy_n(angle_.data(), form_.angles, after.angles + head * form_.angles);
}

}  // namespace intact
