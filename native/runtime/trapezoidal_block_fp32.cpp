// The fp32 part of a trapezoidal scan: sums in ascending order, each rounded (docs/spec/numerics_fp32.md).
#include <algorithm>
#include <cmath>

#include "runtime/fixed.h"
#include "runtime/trapezoidal_block.h"

namespace intact {

void TrapezoidalBlock::turn_floats(std::int64_t head, const float* row, const float* bias, float* to) const {
    const std::int64_t states = form_.states;
    const float* const from = row + form_.group_of(head) * states;
    for (std::int64_t n = 0; n < states; n++) to[n] = from[n] + bias[head * states + n];
    weights_.float_kernel->rope(to, 1, states, 1, states, float_cosine_.data(), float_sine_.data(), form_.angles, true);
}

template <> void TrapezoidalBlock::turn_rows<float>() {
    std::vector<float> room(static_cast<std::size_t>(form_.angles));
    tanh_.clear();
    for (const ScanRow& row : rows_) {
        const float* const angles = parts<float>(row).controls + 3 * form_.heads;
        std::transform(angles, angles + form_.angles, room.begin(), [](float x) { return 2 * x; });
        weights_.float_kernel->sigmoid(room.data(), room.data(), form_.angles);
        for (const float share : room) {
            const float found = 2 * share - 1;
            tanh_.push_back(found <= 1 ? static_cast<std::int64_t>(std::floor(double{found} * kOne30 + 0.5)) : kOne30);
        }
    }
}

template <> void TrapezoidalBlock::enter<float>(std::int64_t head) {
    const std::int64_t size = form_.width * form_.states;
    if (before_.floats) {
        std::copy_n(before_.floats + head * size, size, floats_.data());
        std::copy_n(before_.angles + head * form_.angles, form_.angles, angle_.data());
    } else {
        std::fill(floats_.begin(), floats_.end(), 0.0f);
        std::fill(angle_.begin(), angle_.end(), 0u);
    }
    std::fill_n(float_keys_[0], form_.states, 0.0f);
    if (!previous_.values) return;
    find_sines();
    weights_.float_kernel->from_q30(sine_.data(), float_sine_.data(), form_.angles);
    weights_.float_kernel->from_q30(cosine_.data(), float_cosine_.data(), form_.angles);
    turn_floats(head, parts<float>(previous_).b, weights_.float_b_bias, float_keys_[0]);
}

template <> void TrapezoidalBlock::advance<float>(std::int64_t head, std::int64_t t) {
    const std::int64_t states = form_.states;
    const ScanRow& last = t == 0 ? previous_ : rows_[static_cast<std::size_t>(t - 1)];
    const Parts<float> row = parts<float>(rows_[static_cast<std::size_t>(t)]);
    const auto [step, kept] =
        pace(head, to_fixed<20>(row.controls[head]), to_fixed<20>(row.controls[form_.heads + head]));
    float own = 0;
    weights_.float_kernel->sigmoid(row.controls + 2 * form_.heads + head, &own, 1);
    const float of_step = step_of(static_cast<std::uint32_t>(step)), decay = from_q30(kept);
    const float now = own * of_step, late = last.values ? (1 - own) * of_step * decay : 0.0f;
    turn(t, step);
    weights_.float_kernel->from_q30(sine_.data(), float_sine_.data(), form_.angles);
    weights_.float_kernel->from_q30(cosine_.data(), float_cosine_.data(), form_.angles);
    const float* const old = float_keys_[t % 2];
    float* const key = float_keys_[(t + 1) % 2];
    turn_floats(head, row.b, weights_.float_b_bias, key);
    const float* const x = row.x + head * form_.width;
    const float* const old_x = last.values ? parts<float>(last).x + head * form_.width : x;
    for (std::int64_t p = 0; p < form_.width; p++) {
        float* const state = floats_.data() + p * states;
        const float from_old = late * old_x[p], from_new = now * x[p];
        for (std::int64_t n = 0; n < states; n++) state[n] = decay * state[n] + from_old * old[n] + from_new * key[n];
    }
}

template <> void TrapezoidalBlock::result(std::int64_t head, std::int64_t t, float* out) {
    const Parts<float> row = parts<float>(rows_[static_cast<std::size_t>(t)]);
    float query[kMostScanStates];
    turn_floats(head, row.c, weights_.float_c_bias, query);
    const float* const x = row.x + head * form_.width;
    for (std::int64_t p = 0; p < form_.width; p++) {
        const float* const state = floats_.data() + p * form_.states;
        float sum = state[0] * query[0];
        for (std::int64_t n = 1; n < form_.states; n++) sum += state[n] * query[n];
        out[p] = sum + weights_.float_skip[head] * x[p];
    }
}

template <> void TrapezoidalBlock::leave<float>(std::int64_t head, ScanState after) const {
    const std::int64_t size = form_.width * form_.states;
    std::copy_n(floats_.data(), size, after.floats + head * size);
    std::copy_n(angle_.data(), form_.angles, after.angles + head * form_.angles);
}

}  // namespace intact
