// The fp32 part of a gated recurrence (docs/spec/numerics_fp32.md).
#include <algorithm>
#include <bit>

#include "runtime/recurrence_block.h"

namespace intact {

void RecurrenceBlock::enter(std::int64_t begin, Floats state) const {
    if (before_.floats)
        std::copy_n(before_.floats + begin, state.size(), state.begin());
    else
        std::ranges::fill(state, 0.0f);
}

void RecurrenceBlock::advance(std::int64_t begin, std::int64_t t, Floats state) const {
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const std::uint32_t* const shares = row.steps + begin;
    const float* const values = row.float_values + begin;
    float* const h = state.data();
    for (std::size_t i = 0; i < state.size(); i++) h[i] = h[i] + std::bit_cast<float>(shares[i]) * (values[i] - h[i]);
}

void RecurrenceBlock::result(Floats state, float* out) { std::ranges::copy(state, out); }

void RecurrenceBlock::leave(std::int64_t begin, Floats state, ScanState after) {
    std::ranges::copy(state, after.floats + begin);
}

}  // namespace intact
