#include "runtime/delta_block.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/fixed.h"

namespace intact {
namespace {

constexpr int kKey = 15, kState = 20, kWeight = 24;  // fraction bits
constexpr std::int64_t kKeyLimit = (1 << kKey) - 1, kEpsilon = 4295;

std::int64_t floor_sqrt(std::uint64_t x) {
    std::uint64_t root = 0;
    for (std::uint64_t bit = std::uint64_t{1} << 31; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= x) root |= bit;
    return static_cast<std::int64_t>(root);
}

// The dot product of vectors of at most unit length, whose sums of products fit in 32 bits.
std::int32_t dot(const std::int16_t* x, const std::int16_t* y, std::int64_t n) {
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < n; i++) sum += std::int32_t{x[i]} * y[i];
    return sum;
}

// The weight in Q24 with which a row of the block enters another row's result.
std::int32_t weight(std::int64_t product, std::int64_t decay) {
    return static_cast<std::int32_t>(rshift(product * decay, 2 * kKey + 30 - kWeight));
}

}  // namespace

void unit_codes(const std::int32_t* x, std::int64_t n, std::int16_t* codes) {
    const std::int32_t exponent = row_codes(x, n, codes);
    std::int64_t squares = rshift(kEpsilon, 2 * exponent);
    for (std::int64_t i = 0; i < n; i++) squares += std::int32_t{codes[i]} * codes[i];
    squares = std::max<std::int64_t>(squares, 1);
    const int p = (62 - bits_of(squares)) / 2;
    const std::int64_t r = (std::int64_t{1} << 61) / floor_sqrt(static_cast<std::uint64_t>(squares) << (2 * p));
    for (std::int64_t i = 0; i < n; i++)
        codes[i] = static_cast<std::int16_t>(std::clamp(rshift(codes[i] * r, 61 - kKey - p), -kKeyLimit, kKeyLimit));
}

DeltaBlock::DeltaBlock(const ScanForm& form, const std::int64_t* rate, const Kernels* kernel)
    : form_(form), rate_(rate), kernel_(kernel) {
    const auto width = static_cast<std::size_t>(form.width);
    for (auto* const sums : {&held_, &found_, &sums_}) sums->resize(width);
}

void DeltaBlock::read(std::vector<ScanRow> rows, ScanState before) {
    rows_ = std::move(rows);
    before_ = before;
}

void DeltaBlock::enter_head(std::int64_t head) {
    const std::int64_t v0 = head * form_.width;
    add_decays(rows_, head, rate_[head], decay_);
    of_block_.clear();
    for (const ScanRow& row : rows_) of_block_.push_back(row.values + v0);
    of_state_.clear();
    for (std::int64_t n = 0; before_.mantissas && n < form_.states; n++)
        of_state_.push_back(before_.mantissas + v0 * form_.states + n * form_.width);
}

void DeltaBlock::read_state(const std::int16_t* vector, std::int64_t kept, std::int64_t* out) {
    keys_.assign(vector, vector + form_.states);
    kernel_->weighted_sum(of_state_.data(), keys_.data(), std::ssize(of_state_), form_.width, out);
    for (std::int64_t p = 0; p < form_.width; p++) out[p] = rshift(sat32(rshift(out[p], kKey)) * kept, 30);
}

void DeltaBlock::add_written(const std::vector<std::int32_t>& weights, std::int64_t* out) {
    kernel_->weighted_sum(of_block_.data(), weights.data(), std::ssize(weights), form_.width, sums_.data());
    for (std::int64_t p = 0; p < form_.width; p++) out[p] += rshift(sums_[static_cast<std::size_t>(p)], kWeight);
}

template <> void DeltaBlock::row(std::int64_t head, std::int64_t t, std::int32_t* out) {
    const auto own = static_cast<std::size_t>(t);
    const ScanRow& row = rows_[own];
    const std::int16_t *const key = row.mixed + key_of(head), *const query = row.mixed + query_of(head);
    const std::int64_t kept = exp2_neg(decay_[own]);
    read_state(key, kept, held_.data());
    read_state(query, kept, found_.data());
    keys_.clear();
    queries_.clear();
    for (std::size_t s = 0; s <= own; s++) {
        const std::int16_t* const other = rows_[s].mixed + key_of(head);
        const std::int64_t decay = exp2_neg(decay_[own] - decay_[s]);
        if (s < own) keys_.push_back(weight(dot(other, key, form_.states), decay));
        queries_.push_back(weight(dot(other, query, form_.states), decay));
    }
    add_written(keys_, held_.data());
    std::int32_t* const value = row.values + head * form_.width;
    for (std::int64_t p = 0; p < form_.width; p++) {
        const std::int64_t wanted = value[p] * (std::int64_t{1} << (kState - 16)) - held_[static_cast<std::size_t>(p)];
        value[p] = static_cast<std::int32_t>(rshift(row.strengths[head] * sat32(wanted), 30));
    }
    add_written(queries_, found_.data());
    for (std::int64_t p = 0; p < form_.width; p++)
        out[p] = static_cast<std::int32_t>(sat32(rshift(found_[static_cast<std::size_t>(p)], kState - 16)));
}

template <> void DeltaBlock::end<std::int32_t>(std::int64_t head, ScanState after) {
    const std::int64_t width = form_.width, last = decay_[kScanBlock - 1], kept = exp2_neg(last);
    Decays decays{};
    for (std::size_t s = 0; s < decays.size(); s++) decays[s] = exp2_neg(last - decay_[s]);
    for (std::int64_t n = 0; n < form_.states; n++) {
        keys_.clear();
        for (std::size_t s = 0; s < decays.size(); s++) {
            const std::int64_t key = rows_[s].mixed[key_of(head) + n];
            keys_.push_back(static_cast<std::int32_t>(rshift(key * decays[s], kKey + 30 - kWeight)));
        }
        const std::int64_t at = (head * form_.states + n) * width;
        for (std::int64_t p = 0; p < width; p++)
            held_[static_cast<std::size_t>(p)] = before_.mantissas ? rshift(before_.mantissas[at + p] * kept, 30) : 0;
        add_written(keys_, held_.data());
        for (std::int64_t p = 0; p < width; p++) {
            const std::int64_t value = held_[static_cast<std::size_t>(p)];
            saturated_ += std::abs(value) >= kMost32;
            after.mantissas[at + p] = static_cast<std::int32_t>(sat32(value));
        }
    }
}

}  // namespace intact
