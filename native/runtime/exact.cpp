#include "runtime/exact.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "formats/convert.h"
#include "runtime/fixed.h"

namespace intact {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 50;
constexpr int kDrop = 6, kLimb = 16;

// Number of low bits of scale products that are rounded off; more if values have more than 8 bits.
int dropped(const Weight& w) {
    int most = 0;
    const int count = w.has_table ? std::max(16, 1 << w.bits) : 1 << w.bits;
    for (int i = 0; i < count; i++) most = std::max(most, std::abs((w.has_table ? w.table[i] : i) - w.zero));
    return kDrop + std::max(bits_of(most) - 8, 0);
}

// x / 2^e, rounded; exact if e is negative.
std::int64_t scaled(std::int64_t x, int e) { return e >= 0 ? rshift(x, e) : x * (std::int64_t{1} << -e); }

// `shift` of high * 2^16 + low, which is clipped to +-2^62 if it is shifted right by less than 17 bits.
std::int64_t shift_limbs(std::int64_t high, std::int64_t low, std::int64_t s) {
    constexpr std::int64_t kMost = std::int64_t{1} << 62;
    high += low >> kLimb;
    if (s > kLimb) return rshift(high, s - kLimb);
    const std::int64_t few = std::clamp(high, -(kMost >> kLimb) - 1, kMost >> kLimb) * (1 << kLimb);
    return shift(std::clamp(few + (low & ((1 << kLimb) - 1)), -kMost, kMost), s);
}

// Sums of `block` codes times scales, rounded to 13 bits; returns the shift.
std::int32_t block_sums(const WideRow& row, bool limbs, std::int64_t blocks, std::int64_t block, std::int32_t* to) {
    const std::int64_t count = blocks * 32 / block;
    const auto sum = [&](std::int64_t b) {
        std::int64_t total = 0;
        for (std::int64_t i = b * block; i < (b + 1) * block; i++)
            total += row.codes[i] + (limbs ? std::int64_t{row.high[i]} * (1 << kLimb) : 0);
        return total * row.scale[b * block / 32];
    };
    std::int64_t most = 0;
    for (std::int64_t b = 0; b < count; b++) most = std::max(most, std::abs(sum(b)));
    int e = std::max(bits_of(most) - 13, 0);
    if (rshift(most, e) > 8191) e++;
    for (std::int64_t b = 0; b < count; b++) to[b] = static_cast<std::int32_t>(rshift(sum(b), e));
    return e;
}

}  // namespace

void quantize_wide_codes(const std::int64_t* x, std::int64_t n, int fraction, const Scheme& scheme, std::int32_t* to) {
    const WideRow row(to, n);
    const std::int64_t largest = largest_code(scheme), most = largest << 12, blocks = (n + 31) / 32;
    const bool limbs = has_limbs(scheme);
    std::int64_t amax = 0;
    for (std::int64_t i = 0; i < n; i++) amax = std::max(amax, std::abs(x[i]));
    int e = 0;
    if (amax) {
        e = bits_of(amax) - bits_of(most);
        if (amax > (e >= 0 ? most << e : most >> -e)) e++;
    }
    for (std::int64_t b = 0; b < blocks; b++) {
        std::int64_t u[32] = {}, high = 0;
        for (std::int64_t i = 0; i < std::min<std::int64_t>(32, n - 32 * b); i++) {
            u[i] = scaled(x[32 * b + i], e);
            high = std::max(high, std::abs(u[i]));
        }
        const int power = bits_of(std::max<std::int64_t>((high + largest - 1) / largest, 1) - 1);
        row.scale[b] = 1 << power;
        for (std::int64_t i = 0; i < 32; i++) {
            const std::int64_t size = std::abs(u[i]);
            const int drop = std::max(bits_of(size) - scheme.mantissa, power);
            const std::int64_t whole = size >> drop, rest = size & ((std::int64_t{1} << drop) - 1);
            const bool up = 2 * rest + (whole & 1) > std::int64_t{1} << drop;
            const std::int64_t code = (whole + up) << (drop - power), low = limbs ? code & ((1 << kLimb) - 1) : code;
            const std::int64_t sign = u[i] < 0 ? -1 : 1;
            row.codes[32 * b + i] = static_cast<std::int32_t>(sign * low);
            if (limbs) row.high[32 * b + i] = static_cast<std::int32_t>(sign * (code >> kLimb));
        }
    }
    row.exponents[0] = e - fraction;
    row.exponents[1] = block_sums(row, limbs, blocks, 32, row.sums32);
    row.exponents[2] = block_sums(row, limbs, blocks, 16, row.sums16);
}

struct ExactOutput::Parts {
    std::vector<std::int32_t> codes;
    std::vector<std::int16_t> scales, minima;
    std::int64_t scale_exp = 0, minimum_exp = 0;
};

ExactOutput::ExactOutput(const Weight& weight, const Scheme& scheme)
    : weight_(weight), limbs_(has_limbs(scheme)), drop_(dropped(weight)), parts_(std::make_unique<Parts>()) {
    parts_->codes.resize(static_cast<std::size_t>(weight.blocks() * 32));
    parts_->scales.resize(static_cast<std::size_t>(weight.scale_blocks()));
    parts_->minima.resize(parts_->scales.size());
}

ExactOutput::~ExactOutput() = default;

void ExactOutput::read(std::int64_t output) {
    unpack_row(weight_, output, parts_->codes.data(), parts_->scales.data(), parts_->minima.data());
    parts_->scale_exp = weight_.scale_exp[output];
    if (weight_.has_min) parts_->minimum_exp = weight_.minimum_exp[output];
}

std::int64_t ExactOutput::times(std::int32_t* from, int fraction) const {
    const WideRow row(from, weight_.columns);
    const std::int64_t block = weight_.block;
    const auto sum = [this](const std::int32_t* codes, const std::int32_t* inputs) {
        if (drop_ == kDrop) {  // 32 products of at most 255 and 2^18
            std::int32_t small = 0;
            for (std::int64_t i = 0; i < weight_.block; i++) small += codes[i] * inputs[i];
            return std::int64_t{small};
        }
        std::int64_t acc = 0;
        for (std::int64_t i = 0; i < weight_.block; i++) acc += std::int64_t{codes[i]} * inputs[i];
        return acc;
    };
    std::int64_t total = 0, high = 0;
    for (std::size_t b = 0; b < parts_->scales.size(); b++) {
        const std::int64_t first = static_cast<std::int64_t>(b) * block;
        const std::int32_t* codes = parts_->codes.data() + first;
        const std::int64_t c = rshift(std::int64_t{parts_->scales[b]} * row.scale[first / 32], drop_);
        total += sum(codes, row.codes + first) * c;
        if (limbs_) high += sum(codes, row.high + first) * c;
    }
    const std::int64_t s = -(drop_ + fraction + parts_->scale_exp + row.exponents[0]);
    std::int64_t y = limbs_ ? shift_limbs(high, total, s) : shift(total, s);
    if (weight_.has_min) {
        const std::int32_t* sums = block == 16 ? row.sums16 : row.sums32;
        const int fold = block == 16 ? 8 : 7;
        std::int64_t more = 0;
        for (std::size_t b = 0; b < parts_->minima.size(); b += 8) {
            std::int64_t group = 0;
            for (std::size_t j = b; j < std::min(b + 8, parts_->minima.size()); j++)
                group += std::int64_t{sums[j]} * parts_->minima[j];
            more += rshift(group, fold);
        }
        y += shift(more,
                   -(fold + fraction + parts_->minimum_exp + row.exponents[0] + row.exponents[block == 16 ? 2 : 1]));
    }
    return std::clamp(y, -kLargest, kLargest);
}

}  // namespace intact
