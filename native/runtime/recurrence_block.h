// HGRN's gated recurrence (docs/spec/numerics.md, section 8; numerics/hgrn.py) in plain loops: the state of each
// channel is rounded at every position.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/scan_block.h"

namespace intact {

// Rows of one block, and the channels whose states advance from one row to the next.
class RecurrenceBlock {
public:
    // Sets consecutive rows and the state before them (null mantissas: none).
    void read(std::vector<ScanRow> rows, ScanState before);
    // Passes the results of rows first.. of some channels, Q16 or floats, to out(row); stores the state after them if
    // `after` is set, which may be the state before.
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
    // States of channels begin..: integers in Q32, or floats.
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
