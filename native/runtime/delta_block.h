// The gated delta rule (docs/spec/numerics.md, section 8; numerics/delta.py) in integers.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/scan_block.h"

namespace intact {

// Normalises x, Q16, to a vector of unit length, Q15.
void unit_codes(const std::int32_t* x, std::int64_t n, std::int16_t* codes);
void unit_floats(float* x, std::int64_t n);

// Rows of one block, from its start, and the data that a head needs about them. For rows that a step has not reached
// yet, the place of `written` holds their values.
class DeltaBlock {
public:
    DeltaBlock(const ScanForm& form, const std::int64_t* rate, const Kernels* kernel);

    // Sets the rows and the state before them (null mantissas: none).
    void read(std::vector<ScanRow> rows, ScanState before);
    // Runs rows first.. of some heads: stores their updates, and passes their results to out(row), Q16 or floats;
    // stores the state after them if `after` is set.
    template <class F> void run(std::int64_t head0, std::int64_t head1, std::int64_t first, ScanState after, F out);

    // Number of state values that have saturated.
    std::int64_t saturated() const { return saturated_; }

private:
    void enter_head(std::int64_t head);
    // Reads the decayed state before the block under a vector; add_written adds the rows' updates, each with a weight
    // in Q24.
    void read_state(const std::int16_t* vector, std::int64_t kept, std::int64_t* out);
    void add_written(const std::vector<std::int32_t>& weights, std::int64_t* out);
    // For integers (std::int32_t) or floats.
    template <class T> void row(std::int64_t head, std::int64_t t, T* out);
    template <class T> void end(std::int64_t head, ScanState after);
    std::int64_t query_of(std::int64_t head) const { return form_.group_of(head) * form_.states; }
    std::int64_t key_of(std::int64_t head) const { return form_.columns() + query_of(head); }

    const ScanForm& form_;
    const std::int64_t* rate_;
    const Kernels* kernel_;
    std::vector<ScanRow> rows_;
    ScanState before_{};
    Decays decay_{};  // of the head
    // The rows of a sum and their factors: rows of the head's state, and updates that the block's rows wrote.
    std::vector<const std::int32_t*> of_state_, of_block_;
    std::vector<std::int32_t> keys_, queries_;
    std::vector<std::int64_t> held_, found_, sums_;  // under a row's key, and under its query
    std::vector<float> float_held_, float_read_;
    std::int64_t saturated_ = 0;
};

template <> void DeltaBlock::row(std::int64_t head, std::int64_t t, std::int32_t* out);
template <> void DeltaBlock::row(std::int64_t head, std::int64_t t, float* out);
template <> void DeltaBlock::end<std::int32_t>(std::int64_t head, ScanState after);
template <> void DeltaBlock::end<float>(std::int64_t head, ScanState after);

template <class F>
void DeltaBlock::run(std::int64_t head0, std::int64_t head1, std::int64_t first, ScanState after, F out) {
    using T = std::remove_pointer_t<decltype(out(first))>;
    const auto count = static_cast<std::int64_t>(rows_.size());
    for (std::int64_t head = head0; head < head1; head++) {
        enter_head(head);
        for (std::int64_t t = first; t < count; t++) row(head, t, out(t) + head * form_.width);
        if (after.mantissas) end<T>(head, after);
    }
}

}  // namespace intact
