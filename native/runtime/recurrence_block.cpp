#include "runtime/recurrence_block.h"

#include <algorithm>
#include <utility>

#include "runtime/fixed.h"

namespace intact {

void RecurrenceBlock::read(std::vector<ScanRow> rows, ScanState before) {
    rows_ = std::move(rows);
    before_ = before;
}

// The high word of a state holds its upper 32 bits.
void RecurrenceBlock::enter(std::int64_t begin, Integers state) const {
    if (!before_.mantissas) {
        std::ranges::fill(state, 0);
        return;
    }
    const std::int32_t* word = before_.mantissas + 2 * begin;
    for (std::int64_t& h : state) {
        const auto low = static_cast<std::uint32_t>(*word++);
        h = (std::int64_t{*word++} << 32) | low;
    }
}

// rshift(f * h + (1 - f) * c, 30), h in Q32 and c in Q16: the upper 32 bits of h and its lower 16 are multiplied
// separately, because the sum has up to 78 bits.
void RecurrenceBlock::advance(std::int64_t begin, std::int64_t t, Integers state) const {
    const ScanRow& row = rows_[static_cast<std::size_t>(t)];
    const std::uint32_t* const shares = row.steps + begin;
    const std::int32_t* const values = row.values + begin;
    const auto n = std::ssize(state);
    std::int64_t* const h = state.data();
    for (std::int64_t i = 0; i < n; i++) {
        const std::int64_t share = shares[i], kept = kOne30 - share;
        const std::int64_t upper = (h[i] >> 16) * kept + values[i] * share;
        const std::int64_t lower = (h[i] & 0xffff) * kept, rest = (upper & 0x3fff) << 16;
        h[i] = (upper >> 14) + ((rest + lower + (std::int64_t{1} << 29)) >> 30);
    }
}

void RecurrenceBlock::result(Integers state, std::int32_t* out) {
    for (const std::int64_t h : state) *out++ = static_cast<std::int32_t>((h + (1 << 15)) >> 16);
}

void RecurrenceBlock::leave(std::int64_t begin, Integers state, ScanState after) {
    std::int32_t* word = after.mantissas + 2 * begin;
    for (const std::int64_t h : state) {
        *word++ = static_cast<std::int32_t>(static_cast<std::uint32_t>(h));
        *word++ = static_cast<std::int32_t>(h >> 32);
    }
}

}  // namespace intact
