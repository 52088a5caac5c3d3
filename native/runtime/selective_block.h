// Mamba-1's selective scan (docs/spec/numerics.md, section 8; numerics/selective.py) in plain loops: the state of each
// channel, a head of width 1, is rounded at every position.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "runtime/scan_block.h"

namespace intact {

// Rows of one block, and the channels whose states advance from one row to the next.
class SelectiveBlock {
public:
    // rate: one number per state of each channel.
    SelectiveBlock(const ScanForm& form, const std::int64_t* rate, const std::int64_t* skip, const float* float_skip)
        : form_(form), rate_(rate), skip_(skip), float_skip_(float_skip) {}

    // Sets consecutive rows and the state before them (null mantissas: none).
    void read(std::vector<ScanRow> rows, ScanState before);
    // Passes the results of rows first.. of some channels, Q16 or floats, to out(row); stores the state after them if
    // `after` is set, which may be the state before.
    template <class F> void run(std::int64_t begin, std::int64_t end, std::int64_t first, ScanState after, F out) {
        using T = std::remove_pointer_t<decltype(out(first))>;
        for (std::int64_t channel = begin; channel < end; channel++) {
            enter<T>(channel);
            for (std::int64_t t = 0; t < std::ssize(rows_); t++) {
                advance<T>(channel, t);
                if (t >= first) out(t)[channel] = result<T>(channel, t);
            }
            if (after.mantissas) leave<T>(channel, after);
        }
    }

private:
    // For integers (std::int32_t) or floats.
    template <class T> void enter(std::int64_t channel);
    template <class T> void advance(std::int64_t channel, std::int64_t t);
    template <class T> T result(std::int64_t channel, std::int64_t t) const;
    template <class T> void leave(std::int64_t channel, ScanState after) const;

    const ScanForm& form_;
    const std::int64_t *rate_, *skip_;
    const float* float_skip_;
    std::vector<ScanRow> rows_;
    std::vector<std::int64_t> most_;  // of each row the largest code of B
    ScanState before_{};
    std::int64_t exponent_ = 0;  // of the channel's state
    std::int64_t state_[kMostScanStates] = {}, kept_[kMostScanStates] = {};
    float floats_[kMostScanStates] = {};
};

template <> void SelectiveBlock::enter<std::int32_t>(std::int64_t channel);
template <> void SelectiveBlock::enter<float>(std::int64_t channel);
template <> void SelectiveBlock::advance<std::int32_t>(std::int64_t channel, std::int64_t t);
template <> void SelectiveBlock::advance<float>(std::int64_t channel, std::int64_t t);
template <> std::int32_t SelectiveBlock::result(std::int64_t channel, std::int64_t t) const;
template <> float SelectiveBlock::result(std::int64_t channel, std::int64_t t) const;
template <> void SelectiveBlock::leave<std::int32_t>(std::int64_t channel, ScanState after) const;
template <> void SelectiveBlock::leave<float>(std::int64_t channel, ScanState after) const;

}  // namespace intact
