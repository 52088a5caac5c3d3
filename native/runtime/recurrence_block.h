// HGRN's gated recurrence (docs/numerics.md, section 8; numerics/hgrn.py) in plain loops: the state of each channel is
// rounded at every position.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/scan_block.h"

namespace intact {

// Rows of one block, and the channels that lead from one to the next.
class RecurrenceBlock {
public:
    // These rows, one after the other, and the state before them (mantissas null: none).
    void read(std::vector<ScanRow> rows, ScanState before);
    // Results of rows first.. of some channels, Q16 or floats, each to out(row); the state behind them where `after`
    // has one, which may be the one before.
    template <class F> void run(std::int64_t begin, std::int64_t end, std::int64_t first, ScanState after, F out) {
        using T = std::remove_pointer_t<decltype(out(first))>;
        std::vector<std::conditional_t<std::is_same_v<T, float>, float, std::int64_t>> state(
            static_cast<std::size_t>(end - begin));
        enter(begin, state);
        for (std::int64_t t = 0; t < std::ssize(rows_); t++) {
            advance(begin, t, state);
            if (t >= first) result(state, out(t) + begin);
        }
        if (after.mantissas) leave(begin, state, after);
    }

private:
    // Of channels begin..: integers in Q32, or floats.
    using Integers = std::span<std::int64_t>;
    using Floats = std::span<float>;
    void enter(std::int64_t begin, Integers state) const;
    void enter(std::int64_t begin, Floats state) const;
    void advance(std::int64_t begin, std::int64_t t, Integers state) const;
    void advance(std::int64_t begin, std::int64_t t, Floats state) const;
    static void result(Integers state, std::int32_t* out);
    static void result(Floats state, float* out);
    static void leave(std::int64_t begin, Integers state, ScanState after);
    static void leave(std::int64_t begin, Floats state, ScanState after);

    std::vector<ScanRow> rows_;
    ScanState before_{};
};

}  // namespace intact
