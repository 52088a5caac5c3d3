// The fp32 part of the gated delta rule: sums in ascending order, each rounded (docs/spec/numerics_fp32.md).
#include <cmath>

#include "runtime/delta_block.h"

namespace intact {
namespace {

float dot(const float* x, const float* y, std::int64_t n) {
    float sum = x[0] * y[0];
    for (std::int64_t i = 1; i < n; i++) sum += x[i] * y[i];
    return sum;
}

}  // namespace

void unit_floats(float* x, std::int64_t n) {
    const float length = std::sqrt(dot(x, x, n) + 1e-6f);
    for (std::int64_t i = 0; i < n; i++) x[i] /= length;
}

template <> void DeltaBlock::row(std::int64_t head, std::int64_t t, float* out) {
    const std::int64_t width = form_.width, states = form_.states, v0 = head * width;
    const auto own = static_cast<std::size_t>(t);
    const ScanRow& row = rows_[own];
    const float kept = from_q30(exp2_neg(decay_[own]));
    const auto read = [&](const float* vector, std::size_t count, float* y) {
        std::fill_n(y, width, 0.0f);
        for (std::size_t s = 0; s < count; s++) {
            const float a =
                dot(rows_[s].float_mixed + key_of(head), vector, states) * from_q30(exp2_neg(decay_[own] - decay_[s]));
            const float* const written = rows_[s].float_values + v0;
            for (std::int64_t p = 0; p < width; p++) y[p] += a * written[p];
        }
        if (!before_.floats) return;
        float_read_.resize(static_cast<std::size_t>(width));
        const float* state = before_.floats + v0 * states;
        for (std::int64_t p = 0; p < width; p++) float_read_[static_cast<std::size_t>(p)] = state[p] * vector[0];
        for (std::int64_t n = 1; n < states; n++)
            for (std::int64_t p = 0; p < width; p++)
                float_read_[static_cast<std::size_t>(p)] += state[n * width + p] * vector[n];
        for (std::int64_t p = 0; p < width; p++) y[p] += float_read_[static_cast<std::size_t>(p)] * kept;
    };
    float_held_.resize(static_cast<std::size_t>(width));
    read(row.float_mixed + key_of(head), own, float_held_.data());
    float* const value = row.float_values + v0;
    for (std::int64_t p = 0; p < width; p++)
        value[p] = row.float_strengths[head] * (value[p] - float_held_[static_cast<std::size_t>(p)]);
    read(row.float_mixed + query_of(head), own + 1, out);
}

template <> void DeltaBlock::end<float>(std::int64_t head, ScanState after) {
    const std::int64_t width = form_.width, v0 = head * width, last = decay_[kScanBlock - 1];
    for (std::int64_t n = 0; n < form_.states; n++) {
        float* const to = after.floats + v0 * form_.states + n * width;
        for (std::size_t s = 0; s < rows_.size(); s++) {
            const float a = rows_[s].float_mixed[key_of(head) + n] * from_q30(exp2_neg(last - decay_[s]));
            const float* const written = rows_[s].float_values + v0;
            for (std::int64_t p = 0; p < width; p++) to[p] = s == 0 ? a * written[p] : to[p] + a * written[p];
        }
        if (!before_.floats) continue;
        const float* const old = before_.floats + v0 * form_.states + n * width;
        const float kept = from_q30(exp2_neg(last));
        for (std::int64_t p = 0; p < width; p++) to[p] += kept * old[p];
    }
}

}  // namespace intact
