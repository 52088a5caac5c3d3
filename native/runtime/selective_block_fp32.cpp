// The fp32 part of a selective scan: sums in ascending order, each rounded (docs/spec/numerics_fp32.md).
#include <algorithm>

#include "runtime/fixed.h"
#include "runtime/selective_block.h"

namespace intact {

template <> void SelectiveBlock::enter<float>(std::int64_t channel) {
    if (before_.floats)
        std::copy_n(before_.floats + channel * form_.states, form_.states, floats_);
    else
        std::fill_n(floats_, form_.states, 0.0f);
}

template <> void SelectiveBlock::advance<float>(std::int64_t channel, std::int64_t t) {
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const std::int64_t* const rate = rate_ + channel * form_.states;
    const float* const b = row.float_mixed;
    const std::int64_t step = row.steps[channel];
    const float added = step_of(row.steps[channel]) * row.float_values[channel];
    for (std::int64_t n = 0; n < form_.states; n++)
        floats_[n] = from_q30(exp2_neg(rshift(step * rate[n], 16))) * floats_[n] + added * b[n];
}

template <> float SelectiveBlock::result(std::int64_t channel, std::int64_t t) const {
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const float* const c = row.float_mixed + form_.states;
    float sum = floats_[0] * c[0];
    for (std::int64_t n = 1; n < form_.states; n++) sum += floats_[n] * c[n];
    return sum + float_skip_[channel] * row.float_values[channel];
}

template <> void SelectiveBlock::leave<float>(std::int64_t channel, ScanState after) const {
    std::copy_n(floats_, form_.states, after.floats + channel * form_.states);
}

}  // namespace intact
