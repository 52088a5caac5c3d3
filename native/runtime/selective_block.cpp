#include "runtime/selective_block.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/fixed.h"

namespace intact {

void SelectiveBlock::read(std::vector<ScanRow> rows, ScanState before) {
    rows_ = std::move(rows);
    before_ = before;
    most_.clear();
    for (const ScanRow& row : rows_) {
        std::int64_t most = 0;
        for (std::int64_t n = 0; row.mixed && n < form_.states; n++)
            most = std::max<std::int64_t>(most, std::abs(row.mixed[n]));
        most_.push_back(most);
    }
}

template <> void SelectiveBlock::enter<std::int32_t>(std::int64_t channel) {
    const std::int64_t states = form_.states;
    exponent_ = before_.mantissas ? before_.exponents[channel] : 0;
    if (before_.mantissas)
        std::copy_n(before_.mantissas + channel * states, states, state_);
    else
        std::fill_n(state_, states, 0);
}

template <> void SelectiveBlock::advance<std::int32_t>(std::int64_t channel, std::int64_t t) {
    const std::int64_t states = form_.states;
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const std::int64_t* const rate = rate_ + channel * states;
    const std::int16_t* const b = row.mixed;
    const std::int64_t step = row.steps[channel], whole = step * row.values[channel];
    const int drop = std::max(bits_of(std::abs(whole)) - 47, 0);
    const std::int64_t added = rshift(whole, drop);
    std::int64_t bits = 0;  // those of the largest
    for (std::int64_t n = 0; n < states; n++) {
        kept_[n] = state_[n] * exp2_neg(rshift(step * rate[n], 16));
        bits |= std::abs(kept_[n]);
    }
    const std::int64_t place = std::int64_t{drop} + row.exponents[2] - 58, old = exponent_ - 30;
    Common both(30);
    both.see(bits, old);
    both.see(std::abs(added) * most_[static_cast<std::size_t>(t)], place);
    exponent_ = both.exponent();
    const std::int64_t from_old = exponent_ - old, from_new = exponent_ - place;
    for (std::int64_t n = 0; n < states; n++)
        state_[n] = sat32(shift(kept_[n], from_old) + shift(added * b[n], from_new));
}

template <> std::int32_t SelectiveBlock::result(std::int64_t channel, std::int64_t t) const {
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const std::int16_t* const c = row.mixed + form_.states;
    std::int64_t read = 0;
    for (std::int64_t n = 0; n < form_.states; n++) read += state_[n] * c[n];
    return scan_result(read, exponent_ + row.exponents[3], skip_[channel] * row.values[channel]);
}

template <> void SelectiveBlock::leave<std::int32_t>(std::int64_t channel, ScanState after) const {
    for (std::int64_t n = 0; n < form_.states; n++)
        after.mantissas[channel * form_.states + n] = static_cast<std::int32_t>(state_[n]);
    after.exponents[channel] = static_cast<std::int32_t>(exponent_);
}

}  // namespace intact
