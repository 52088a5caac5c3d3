#include "runtime/delta.h"

#include <algorithm>
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

// Of vectors of at most unit length, whose sums of products fit 32 bits.
std::int32_t dot(const std::int16_t* x, const std::int16_t* y, std::int64_t n) {
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < n; i++) sum += std::int32_t{x[i]} * y[i];
    return sum;
}

// How much a row of the block enters another's result, Q24.
std::int64_t weight(std::int64_t product, std::int64_t decay) {
    return rshift(product * exp2_neg(decay), 2 * kKey + 30 - kWeight);
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

DeltaBlock::DeltaBlock(const ScanForm& form, const std::int64_t* rate) : form_(form), rate_(rate) {}

void DeltaBlock::read(std::vector<ScanRow> rows, ScanState before) {
    rows_ = std::move(rows);
    before_ = before;
}

void DeltaBlock::enter_head(std::int64_t head) {
    std::int64_t total = 0;
    for (std::size_t s = 0; s < rows_.size(); s++)
        decay_[s] = total += rshift(std::int64_t{rows_[s].steps[head]} * rate_[head], 16);
}

void DeltaBlock::row(std::int64_t head, std::int64_t t, std::int32_t* out) {
    const std::int64_t width = form_.width, states = form_.states, v0 = head * width;
    const auto own = static_cast<std::size_t>(t);
    const std::int64_t last = decay_[own];
    const std::int16_t *const key = rows_[own].mixed + key_of(head), *const query = rows_[own].mixed + query_of(head);
    held_.assign(static_cast<std::size_t>(width), 0);
    found_.assign(held_.size(), 0);
    std::int64_t *const held = held_.data(), *const found = found_.data();
    if (before_.mantissas) {
        const std::int32_t* state = before_.mantissas + v0 * states;
        for (std::int64_t n = 0; n < states; n++, state += width) {
            const std::int64_t k = key[n], q = query[n];
            for (std::int64_t p = 0; p < width; p++) {
                held[p] += state[p] * k;
                found[p] += state[p] * q;
            }
        }
    }
    const std::int64_t kept = exp2_neg(last);
    const auto decayed = [&](std::int64_t x) { return rshift(sat32(rshift(x, kKey)) * kept, 30) * (1 << kWeight); };
    for (std::int64_t p = 0; p < width; p++) {
        held[p] = decayed(held[p]);
        found[p] = decayed(found[p]);
    }
    for (std::size_t s = 0; s < own; s++) {
        const std::int16_t* const other = rows_[s].mixed + key_of(head);
        const std::int64_t decay = last - decay_[s];
        const std::int64_t k = weight(dot(other, key, states), decay), q = weight(dot(other, query, states), decay);
        const std::int32_t* const written = rows_[s].values + v0;
        for (std::int64_t p = 0; p < width; p++) {
            held[p] += k * written[p];
            found[p] += q * written[p];
        }
    }
    const std::int64_t q = weight(dot(key, query, states), 0), strength = rows_[own].strengths[head];
    std::int32_t* const value = rows_[own].values + v0;
    for (std::int64_t p = 0; p < width; p++) {
        const std::int64_t wanted = value[p] * (std::int64_t{1} << (kState - 16)) - rshift(held[p], kWeight);
        value[p] = static_cast<std::int32_t>(rshift(strength * sat32(wanted), 30));
        out[p] = static_cast<std::int32_t>(sat32(rshift(rshift(found[p] + q * value[p], kWeight), kState - 16)));
    }
}

void DeltaBlock::end(std::int64_t head, ScanState after) {
    const std::int64_t width = form_.width, v0 = head * width, last = decay_[kScanBlock - 1];
    std::array<std::int64_t, kScanBlock> decays{};
    for (std::size_t s = 0; s < decays.size(); s++) decays[s] = exp2_neg(last - decay_[s]);
    const std::int64_t kept = exp2_neg(last);
    for (std::int64_t n = 0; n < form_.states; n++) {
        const std::int64_t at = v0 * form_.states + n * width;
        held_.assign(static_cast<std::size_t>(width), 0);
        for (std::size_t s = 0; s < decays.size(); s++) {
            const std::int64_t key = rows_[s].mixed[key_of(head) + n];
            const std::int64_t k = rshift(key * decays[s], kKey + 30 - kWeight);
            const std::int32_t* const written = rows_[s].values + v0;
            for (std::int64_t p = 0; p < width; p++) held_[static_cast<std::size_t>(p)] += k * written[p];
        }
        for (std::int64_t p = 0; p < width; p++) {
            const std::int64_t old = before_.mantissas ? rshift(before_.mantissas[at + p] * kept, 30) : 0;
            const std::int64_t added = rshift(held_[static_cast<std::size_t>(p)], kWeight);
            after.mantissas[at + p] = static_cast<std::int32_t>(sat32(old + added));
        }
    }
}

}  // namespace intact
