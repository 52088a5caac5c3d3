#include "runtime/scan_block.h"

#include <bit>
#include <utility>

namespace intact {
namespace {

std::int64_t log2_fixed(std::uint64_t v) {
    const int whole = static_cast<int>(std::bit_width(v)) - 1;
    std::uint64_t m = whole <= 31 ? v << (31 - whole) : v >> (whole - 31);
    std::int64_t y = whole;
    for (int i = 0; i < 28; i++) {
        m = (m * m) >> 31;
        const std::uint64_t bit = m >> 32;
        m >>= bit;
        y = 2 * y + static_cast<std::int64_t>(bit);
    }
    return y;
}

}  // namespace

std::int64_t exp2_neg(std::int64_t t) {
    constexpr std::int64_t kCoefficients[] = {1073741824, -744257403, 257891465, -59375086, 9884650, -1014583};
    const std::int64_t whole = t >> 30, fraction = t & (kOne30 - 1);
    if (whole >= 31) return 0;
    std::int64_t acc = kCoefficients[5];
    for (int i = 4; i >= 0; i--) acc = ((acc * fraction + (kOne30 >> 1)) >> 30) + kCoefficients[i];
    return rshift(acc, whole);
}

ScanPages::ScanPages(const ScanForm& form, std::int64_t page_size, bool floats) {
    const std::int64_t code = floats ? 4 : 2, states = (page_size + kScanBlock - 1) / kScanBlock;
    const auto part = [&](std::int64_t row) {
        const ScanPart found{bytes, row};
        bytes += page_size * row;
        return found;
    };
    raw = part(form.by_positions() ? 0 : form.channels() * code);
    mixed = part(form.kept() * code);
    steps = part(form.angles ? 0 : form.heads * 4);
    exponents = part(form.angles ? 0 : 16);
    strengths = part(form.delta ? form.heads * 4 : 0);
    values = part(form.has_values() ? form.values() * 4 : 0);
    mantissas = bytes;
    state_exponents = mantissas + states * form.inner() * form.states * 4;
    angles = state_exponents + states * form.exponents() * 4;
    counts = angles + states * form.heads * form.angles * 4;
    bytes = counts + (form.by_positions() ? states * form.heads * 4 : 0);
}

ScanRow scan_row(const ScanForm& form, const ScanPages& pages, std::uint8_t* base, std::int64_t place, bool floats) {
    const auto at = [&](const ScanPart& part) { return base + part.start + place * part.row; };
    ScanRow row{};
    if (floats) {
        row.float_raw = reinterpret_cast<float*>(at(pages.raw));
        row.float_mixed = reinterpret_cast<float*>(at(pages.mixed));
    } else {
        row.raw = reinterpret_cast<std::int16_t*>(at(pages.raw));
        row.mixed = reinterpret_cast<std::int16_t*>(at(pages.mixed));
    }
    row.steps = reinterpret_cast<std::uint32_t*>(at(pages.steps));
    row.exponents = reinterpret_cast<std::int32_t*>(at(pages.exponents));
    if (form.has_values()) {
        row.strengths = reinterpret_cast<std::int32_t*>(at(pages.strengths));
        row.values = reinterpret_cast<std::int32_t*>(at(pages.values));
        row.float_strengths = reinterpret_cast<float*>(row.strengths);
        row.float_values = reinterpret_cast<float*>(row.values);
    }
    return row;
}

ScanState scan_state(const ScanForm& form, const ScanPages& pages, std::uint8_t* base, std::int64_t place) {
    const std::int64_t i = place / kScanBlock;
    auto* const memory = base + pages.mantissas + i * form.inner() * form.states * 4;
    return {reinterpret_cast<std::int32_t*>(memory),
            reinterpret_cast<std::int32_t*>(base + pages.state_exponents) + i * form.exponents(),
            reinterpret_cast<float*>(memory),
            reinterpret_cast<std::uint32_t*>(base + pages.angles) + i * form.heads * form.angles,
            reinterpret_cast<std::int32_t*>(base + pages.counts) + i * form.heads};
}

std::int32_t row_codes(const std::int32_t* x, std::int64_t n, std::int16_t* codes) {
    std::uint64_t all = 0;
    for (std::int64_t i = 0; i < n; i++) all |= static_cast<std::uint64_t>(std::abs(std::int64_t{x[i]}));
    const int exponent = std::max(0, static_cast<int>(std::bit_width(all)) - 15);
    const std::int64_t half = (std::int64_t{1} << exponent) >> 1;
    for (std::int64_t i = 0; i < n; i++)
        codes[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>((x[i] + half) >> exponent, -32767, 32767));
    return exponent;
}

std::int32_t scan_result(std::int64_t read, std::int64_t exponent, std::int64_t through) {
    const int drop = std::max(bits_of(std::abs(read)) - 31, 0);
    const std::int64_t parts[] = {shift(rshift(read, drop), -4 - drop - exponent), rshift(through, 12)};
    std::int64_t sum = 0;
    for (const std::int64_t part : parts) sum += std::clamp(part, -kPartLimit, kPartLimit);
    return static_cast<std::int32_t>(sat32(rshift(sum, 4)));
}

namespace {

constexpr std::int64_t kLog2E = 1549082005, kLn2 = 744261118;

// ln(1 + exp(x)), Q26, given max(x, 0) in Q26 and |x| in bits, Q30.
std::uint32_t softplus_of(std::int64_t positive, std::int64_t bits) {
    const std::int64_t e = exp2_neg(bits);
    const std::int64_t log = log2_fixed(static_cast<std::uint64_t>(kOne30 + e)) - (std::int64_t{30} << 28);
    return static_cast<std::uint32_t>(std::min<std::int64_t>(positive + rshift(log * kLn2, 32), UINT32_MAX));
}

}  // namespace

std::uint32_t softplus(std::int64_t x) {
    return softplus_of(std::max<std::int64_t>(x, 0) << 10, rshift(std::abs(x) * kLog2E, 30) << 14);
}

std::uint32_t fine_softplus(std::int64_t x) {
    const std::int64_t size = std::min<std::int64_t>(std::abs(x), 64 << 20);
    return softplus_of(std::max<std::int64_t>(x, 0) << 6, rshift(size * kLog2E, 20));
}

void add_decays(const std::vector<ScanRow>& rows, std::int64_t head, std::int64_t rate, Decays& to) {
    std::int64_t total = 0;
    for (std::size_t s = 0; s < rows.size(); s++) to[s] = total += rshift(std::int64_t{rows[s].steps[head]} * rate, 16);
}

void ScanBlock::read(std::vector<ScanRow> rows, ScanState before) {
    rows_ = std::move(rows);
    before_ = before;
}

template <> void ScanBlock::enter_group<std::int32_t>(std::int64_t group, std::int64_t first) {
    const auto count = static_cast<std::int64_t>(rows_.size());
    const std::int64_t b0 = form_.inner() + group * form_.states, c0 = b0 + form_.columns();
    dots_.resize(static_cast<std::size_t>((count - first) * kScanBlock));
    for (std::int64_t t = first; t < count; t++) {
        const std::int16_t* const c = rows_[static_cast<std::size_t>(t)].mixed + c0;
        for (std::int64_t s = 0; s <= t; s++) {
            const std::int16_t* const b = rows_[static_cast<std::size_t>(s)].mixed + b0;
            std::int64_t sum = 0;
            for (std::int64_t n = 0; n < form_.states; n++) sum += std::int32_t{b[n]} * c[n];
            dots_[static_cast<std::size_t>((t - first) * kScanBlock + s)] = sum;
        }
    }
}

template <> void ScanBlock::result(std::int64_t head, std::int64_t t, std::int64_t first, std::int32_t* out) {
    const std::int64_t width = form_.width, x0 = head * width, last = decay_[static_cast<std::size_t>(t)];
    const ScanRow& own = rows_[static_cast<std::size_t>(t)];
    std::array<std::int64_t, kScanBlock> weights{}, exponents{};
    Common common(31);
    for (std::int64_t s = 0; s <= t; s++) {
        const auto i = static_cast<std::size_t>(s);
        const std::int64_t weight = rshift(exp2_neg(last - decay_[i]) * std::int64_t{rows_[i].steps[head]}, 30);
        const std::int64_t dot = dots_[static_cast<std::size_t>((t - first) * kScanBlock + s)];
        const int drop = std::max(bits_of(std::abs(dot)) - 30, 0);
        weights[i] = rshift(dot, drop) * weight;
        exponents[i] = drop + rows_[i].exponents[1] + rows_[i].exponents[2];
        common.see(weights[i], exponents[i]);
    }
    const std::int64_t exponent = common.exponent(), c_exponent = own.exponents[3];
    sums_.assign(static_cast<std::size_t>(2 * width), 0);
    std::int64_t* const inside = sums_.data();
    std::int64_t* const read = inside + width;
    for (std::int64_t s = 0; s <= t; s++) {
        const auto i = static_cast<std::size_t>(s);
        const std::int64_t a = sat32(shift(weights[i], exponent - exponents[i]));
        const std::int16_t* const x = rows_[i].mixed + x0;
        for (std::int64_t p = 0; p < width; p++) inside[p] += a * x[p];
    }
    std::int64_t kept = 0, drop = 0, state_exponent = 0;
    if (before_.mantissas) {
        const std::int16_t* const c = own.mixed + form_.inner() + form_.columns() + form_.group_of(head) * form_.states;
        const std::int32_t* state = before_.mantissas + x0 * form_.states;
        std::int64_t most = 0;
        for (std::int64_t p = 0; p < width; p++, state += form_.states) {
            std::int64_t sum = 0;
            for (std::int64_t n = 0; n < form_.states; n++) sum += std::int64_t{state[n]} * c[n];
            read[p] = sum;
            most = std::max(most, std::abs(sum));
        }
        drop = std::max(bits_of(most) - 31, 0);
        kept = exp2_neg(last);
        state_exponent = before_.exponents[head];
    }
    const std::int16_t* const x = own.mixed + x0;
    for (std::int64_t p = 0; p < width; p++) {
        const std::int64_t parts[] = {shift(inside[p], 54 - exponent - c_exponent),
                                      shift(rshift(read[p], drop) * kept, 26 - drop - state_exponent - c_exponent),
                                      shift(skip_[head] * x[p], 12 - own.exponents[1])};
        std::int64_t sum = 0;
        for (const std::int64_t part : parts) sum += std::clamp(part, -kPartLimit, kPartLimit);
        out[p] = static_cast<std::int32_t>(sat32(rshift(sum, 4)));
    }
}

template <> void ScanBlock::end<std::int32_t>(std::int64_t head, ScanState after) {
    const std::int64_t width = form_.width, states = form_.states, x0 = head * width, size = width * states;
    const std::int64_t b0 = form_.inner() + form_.group_of(head) * states, last = decay_[kScanBlock - 1];
    std::array<std::int64_t, kScanBlock> weights{};
    Common common(24);
    const auto exponent = [&](std::size_t s) { return std::int64_t{rows_[s].exponents[1]} + rows_[s].exponents[2]; };
    for (std::size_t s = 0; s < weights.size(); s++) {
        weights[s] = rshift(exp2_neg(last - decay_[s]) * std::int64_t{rows_[s].steps[head]}, 30);
        common.see(weights[s], exponent(s));
    }
    sums_.assign(static_cast<std::size_t>(size), 0);
    for (std::size_t s = 0; s < weights.size(); s++) {
        const std::int64_t a = shift(weights[s], common.exponent() - exponent(s));
        const std::int16_t *const x = rows_[s].mixed + x0, *const b = rows_[s].mixed + b0;
        for (std::int64_t p = 0; p < width; p++) {
            const std::int64_t ax = a * x[p];
            for (std::int64_t n = 0; n < states; n++) sums_[static_cast<std::size_t>(p * states + n)] += ax * b[n];
        }
    }
    const std::int64_t kept = before_.mantissas ? exp2_neg(last) : 0;
    const std::int32_t* const old = before_.mantissas ? before_.mantissas + x0 * states : nullptr;
    std::int64_t most = 0, most_old = 0;
    for (std::int64_t i = 0; i < size; i++) most = std::max(most, std::abs(sums_[static_cast<std::size_t>(i)]));
    for (std::int64_t i = 0; old && i < size; i++) most_old = std::max(most_old, std::abs(old[i] * kept));
    const std::int64_t place = common.exponent() - 58;
    const std::int64_t old_place = (before_.mantissas ? before_.exponents[head] : 0) - 30;
    Common both(30);
    both.see(most, place);
    both.see(most_old, old_place);
    const std::int64_t now = both.exponent();
    std::int32_t* const to = after.mantissas + x0 * states;
    for (std::int64_t i = 0; i < size; i++) {
        std::int64_t sum = shift(sums_[static_cast<std::size_t>(i)], now - place);
        if (old) sum += shift(old[i] * kept, now - old_place);
        to[i] = static_cast<std::int32_t>(sat32(sum));
    }
    after.exponents[head] = static_cast<std::int32_t>(now);
}

}  // namespace intact
