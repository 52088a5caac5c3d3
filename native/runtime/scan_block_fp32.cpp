// The fp32 part of a scan: sums in ascending order, each rounded (docs/spec/numerics_fp32.md).
#include "runtime/scan_block.h"

namespace intact {

template <> void ScanBlock::enter_group<float>(std::int64_t group, std::int64_t first) {
    const auto count = static_cast<std::int64_t>(rows_.size());
    const std::int64_t b0 = form_.inner() + group * form_.states, c0 = b0 + form_.columns();
    float_dots_.resize(static_cast<std::size_t>((count - first) * kScanBlock));
    for (std::int64_t t = first; t < count; t++) {
        const float* const c = rows_[static_cast<std::size_t>(t)].float_mixed + c0;
        for (std::int64_t s = 0; s <= t; s++) {
            const float* const b = rows_[static_cast<std::size_t>(s)].float_mixed + b0;
            float sum = b[0] * c[0];
            for (std::int64_t n = 1; n < form_.states; n++) sum += b[n] * c[n];
            float_dots_[static_cast<std::size_t>((t - first) * kScanBlock + s)] = sum;
        }
    }
}

template <> void ScanBlock::result(std::int64_t head, std::int64_t t, std::int64_t first, float* out) {
    const std::int64_t width = form_.width, x0 = head * width, last = decay_[static_cast<std::size_t>(t)];
    const ScanRow& own = rows_[static_cast<std::size_t>(t)];
    for (std::int64_t s = 0; s <= t; s++) {
        const auto i = static_cast<std::size_t>(s);
        const float a = float_dots_[static_cast<std::size_t>((t - first) * kScanBlock + s)] *
                        from_q30(exp2_neg(last - decay_[i])) * step_of(rows_[i].steps[head]);
        const float* const x = rows_[i].float_mixed + x0;
        for (std::int64_t p = 0; p < width; p++) out[p] = s == 0 ? a * x[p] : out[p] + a * x[p];
    }
    const float* const c = own.float_mixed + form_.inner() + form_.columns() + form_.group_of(head) * form_.states;
    const float kept = from_q30(exp2_neg(last)), skip = float_skip_[head];
    const float* const x = own.float_mixed + x0;
    for (std::int64_t p = 0; p < width; p++) {
        if (before_.floats) {
            const float* const state = before_.floats + (x0 + p) * form_.states;
            float sum = state[0] * c[0];
            for (std::int64_t n = 1; n < form_.states; n++) sum += state[n] * c[n];
            out[p] += sum * kept;
        }
        out[p] += skip * x[p];
    }
}

template <> void ScanBlock::end<float>(std::int64_t head, ScanState after) {
    const std::int64_t width = form_.width, states = form_.states, x0 = head * width;
    const std::int64_t b0 = form_.inner() + form_.group_of(head) * states, last = decay_[kScanBlock - 1];
    float* const to = after.floats + x0 * states;
    for (std::size_t s = 0; s < rows_.size(); s++) {
        const float a = from_q30(exp2_neg(last - decay_[s])) * step_of(rows_[s].steps[head]);
        const float *const x = rows_[s].float_mixed + x0, *const b = rows_[s].float_mixed + b0;
        for (std::int64_t p = 0; p < width; p++) {
            const float ax = a * x[p];
            for (std::int64_t n = 0; n < states; n++)
                to[p * states + n] = s == 0 ? ax * b[n] : to[p * states + n] + ax * b[n];
        }
    }
    if (!before_.floats) return;
    const float kept = from_q30(exp2_neg(last));
    const float* const old = before_.floats + x0 * states;
    for (std::int64_t i = 0; i < width * states; i++) to[i] += kept * old[i];
}

}  // namespace intact
