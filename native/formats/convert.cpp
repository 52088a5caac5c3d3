// Conversion of tensors to integer weights: the loops over rows, panels and lines, shared by all formats. See
// docs/spec/numerics.md, section 1, for the bounds.
#include "formats/convert.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <limits>
#include <memory>
#include <type_traits>

#include "formats/factors.h"

namespace intact {
namespace {

static_assert(std::endian::native == std::endian::little, "panels and GGUF are little-endian");

constexpr std::int64_t kScaleMax = 32767;
#define INTACT_DEFINE_FORMATS
#include "formats/list.inl"

using formats::Codes;
using formats::gather;
using formats::kNibbles;
using formats::kPairs;
using formats::spread;

template <class T> T load(const std::uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <class T> void store(std::uint8_t* at, T value) { std::memcpy(at, &value, sizeof value); }

std::int64_t rshift(std::int64_t x, int s) { return s == 0 ? x : (x + (std::int64_t{1} << (s - 1))) >> s; }

int bitlen(std::int64_t x) { return std::bit_width(static_cast<std::uint64_t>(x)); }

// Converts a float16 to units of 2^-24; returns false for NaN and infinity.
bool half(std::uint32_t bits, std::int64_t& value) {
    const std::uint32_t exponent = bits >> 10 & 31;
    const std::int64_t fraction = bits & 0x3ff;
    const std::int64_t magnitude = exponent == 0 ? fraction : (fraction | 0x400) << (exponent - 1);
    value = bits & 0x8000 ? -magnitude : magnitude;
    return exponent != 31;
}

// Computes a block's exact scales D, in units of 2^-(24 + fraction), and minima M, in units of 2^-24 (for power-of-two
// scales: exponent bytes); returns false if any is NaN or infinite.
template <class Format> bool exact_scales(const std::uint8_t* s, std::int64_t* d, std::int64_t* m) {
    std::int64_t scale = 1, minimum = 0;
    bool finite = !Format::powers_of_two || Format::scale(s, 0) != 255;
    if constexpr (!Format::powers_of_two) finite = half(Format::scale_bits(s), scale);
    if constexpr (Format::has_min) finite = half(load<std::uint16_t>(s + Format::minimum_at), minimum) && finite;
    for (int b = 0; b < Format::scale_count; ++b) {
        d[b] = scale * Format::scale(s, b);
        if constexpr (Format::has_min) m[b] = Format::zero * d[b] - minimum * Format::minimum(s, b);
    }
    return finite;
}

// ---- panels ---------------------------------------------------------------------------------------------------------

// Writes the codes of 16 outputs and 32 inputs; codes_of(i) returns those of output i. Outputs from `valid` onwards get
// zeros.
template <int Bits, class CodesOf> void pack(std::uint8_t* out, int valid, CodesOf codes_of) {
    std::array<std::uint64_t, 8> masks{};
    constexpr int base = Bits == 8 ? 512 : Bits >= 4 ? 256 : 128;  // bytes before the high plane
    if (valid < Weight::kPanel) std::memset(out, 0, Bits * 64);
    for (int i = 0; i < valid; ++i) {
        const Codes c = codes_of(i);
        std::uint8_t* at = out + 4 * i;
        const auto pairs = [&](std::uint8_t* plane, int shift) {
            for (int l = 0; l < 2; ++l) {
                std::uint32_t line = 0;
                for (int j = 0; j < 4; ++j) line |= (c[4 * l + j] >> shift & kPairs) << 2 * j;
                store(plane + 64 * l, line);
            }
        };
        if constexpr (Bits == 8) {
            for (int g = 0; g < 8; ++g) store(at + 64 * g, c[g]);
        } else if constexpr (Bits >= 4) {
            for (int l = 0; l < 4; ++l) store(at + 64 * l, (c[2 * l] & kNibbles) | (c[2 * l + 1] & kNibbles) << 4);
        } else {
            pairs(at, 0);
        }
        if constexpr (Bits == 6) pairs(at + base, 4);
        if constexpr (Bits == 5 || Bits == 3)
            for (int g = 0; g < 8; ++g) masks[g] |= std::uint64_t{gather(c[g] >> (Bits - 1))} << 4 * i;
    }
    if constexpr (Bits == 5 || Bits == 3) std::memcpy(out + base, masks.data(), sizeof masks);
}

// The smallest t >= 0 with rshift(largest, t) <= 32767.
int row_exponent(std::int64_t largest) {
    const int t = std::max(0, bitlen(largest) - 15);
    return t + (rshift(largest, t) > kScaleMax);
}

class FirstError {
public:
    explicit FirstError(std::int64_t columns) : columns_(columns) {}

    void report(std::int64_t row, std::int64_t column) {
        const std::int64_t place = row * columns_ + column;
        std::int64_t seen = place_.load();
        while (place < seen && !place_.compare_exchange_weak(seen, place)) {
        }
    }
    std::optional<NotFinite> get() const {
        const std::int64_t place = place_.load();
        if (place == std::numeric_limits<std::int64_t>::max()) return std::nullopt;
        return NotFinite{place / columns_, place % columns_};
    }

private:
    std::int64_t columns_;
    std::atomic<std::int64_t> place_{std::numeric_limits<std::int64_t>::max()};
};

int valid_rows(const Weight& w, std::int64_t panel) {
    return static_cast<int>(std::min<std::int64_t>(Weight::kPanel, w.rows - panel * Weight::kPanel));
}

// Clears the outputs of an incomplete last panel and the unpaired last scale and minimum, which nothing else writes.
void clear_panel(const Weight& w, std::int64_t panel) {
    constexpr int n = Weight::kPanel;
    const bool incomplete = valid_rows(w, panel) < n;
    const auto clear = [&](std::int16_t* pairs, std::int32_t* exponents) {
        if (incomplete || w.scale_blocks() % 2) std::fill_n(pairs, w.pairs() * 2 * n, std::int16_t{0});
        if (incomplete) std::fill_n(exponents + panel * n, n, 0);
    };
    clear(w.panel_scales(panel), w.scale_exp);
    if (w.has_min) clear(w.panel_minima(panel), w.minimum_exp);
}

template <class Kind>
void block_panel(const Weight& w, const std::uint8_t* source, std::int64_t panel, FirstError& error) {
    const std::int64_t source_blocks = w.columns / Kind::values;
    const std::int64_t stride = source_blocks * Kind::bytes;
    const std::int64_t count = w.scale_blocks();
    const std::int64_t first = panel * Weight::kPanel;
    const int valid = valid_rows(w, panel);
    source += first * stride;
    clear_panel(w, panel);

    const auto exact = std::make_unique_for_overwrite<std::int64_t[]>(static_cast<std::size_t>(count) * 2);
    std::int64_t* const d = exact.get();
    std::int64_t* const m = d + count;
    for (int i = 0; i < valid; ++i) {
        const std::uint8_t* row = source + i * stride;
        for (std::int64_t s = 0; s < source_blocks; ++s) {
            const std::int64_t at = s * Kind::scale_count;
            if (!exact_scales<Kind>(row + s * Kind::bytes, d + at, m + at))
                return error.report(first + i, s * Kind::values);
        }
        const auto largest = [count](const std::int64_t* x) {
            std::int64_t most = 0;
            for (std::int64_t b = 0; b < count; ++b) most = std::max(most, x[b] < 0 ? -x[b] : x[b]);
            return most;
        };
        const std::int64_t most = largest(d);
        std::int16_t* const scales = w.panel_scales(panel);
        if constexpr (Kind::powers_of_two) {
            for (std::int64_t b = 0; b < count; ++b) {
                const int below = static_cast<int>(std::min<std::int64_t>(most - d[b], 62));
                scales[Weight::pair_index(b, i)] = static_cast<std::int16_t>(rshift(1 << 14, below));
            }
            w.scale_exp[first + i] = static_cast<std::int32_t>(most) - 128 - 14;
        } else {
            const int t = row_exponent(most);
            for (std::int64_t b = 0; b < count; ++b)
                scales[Weight::pair_index(b, i)] = static_cast<std::int16_t>(rshift(d[b], t));
            w.scale_exp[first + i] = t - 24 - Kind::fraction;
        }
        if constexpr (Kind::has_min) {
            const int t = row_exponent(largest(m));
            std::int16_t* const minima = w.panel_minima(panel);
            for (std::int64_t b = 0; b < count; ++b)
                minima[Weight::pair_index(b, i)] = static_cast<std::int16_t>(rshift(m[b], t));
            w.minimum_exp[first + i] = t - 24;
        }
    }

    std::uint8_t* out = w.panel_codes(panel);
    for (std::int64_t s = 0; s < source_blocks; ++s)
        for (int part = 0; part < Kind::values / 32; ++part, out += w.block_bytes())
            pack<Kind::bits>(out, valid,
                             [&](int i) { return Kind::codes(source + i * stride + s * Kind::bytes, part); });
}

// ---- floats ---------------------------------------------------------------------------------------------------------

// A float is +-mantissa * 2^exponent; magnitude() orders like |x|, and is at least `infinite` for NaN and infinity.
struct F32 {
    static constexpr int bytes = 4, fraction_bits = 23, bias = 150, sign_bit = 31;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint32_t>(at); }
};
struct F16 {
    static constexpr int bytes = 2, fraction_bits = 10, bias = 25, sign_bit = 15;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint16_t>(at); }
};
struct BF16 {
    static constexpr int bytes = 2, fraction_bits = 7, bias = 134, sign_bit = 15;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint16_t>(at); }
};

// Fraction bits of a row's integers relative to its exponent E.
constexpr int float_bits(int bits) { return bits == 8 ? 30 : 18; }

template <class Kind> struct Float {
    static constexpr std::uint32_t sign = std::uint32_t{1} << Kind::sign_bit;
    static constexpr std::uint32_t hidden = std::uint32_t{1} << Kind::fraction_bits;
    static constexpr std::uint32_t infinite = sign - hidden;

    static std::uint32_t magnitude(std::uint32_t bits) { return bits & (sign - 1); }
    static std::int64_t mantissa(std::uint32_t magnitude) {
        return (magnitude & (hidden - 1)) | (magnitude >= hidden ? hidden : 0);
    }
    static int exponent(std::uint32_t magnitude) {
        return std::max(1, static_cast<int>(magnitude >> Kind::fraction_bits)) - Kind::bias;
    }
    // The smallest E with |x| < 2^E; 0 for zero.
    static int above(std::uint32_t magnitude) {
        return magnitude == 0 ? 0 : bitlen(mantissa(magnitude)) + exponent(magnitude);
    }
    // floor(x * 2^(F - E) + 1/2) for |x| < 2^E and F <= 30: mantissa < 2^24, so the left shift stays below 2^54.
    template <int F> static std::int32_t fixed(std::uint32_t bits, int above) {
        const std::uint32_t size = magnitude(bits);
        const std::int64_t wide = mantissa(size) << 30;
        const int right = std::min(30 - F + above - exponent(size), 62);
        const std::int64_t half_up = std::int64_t{1} << (right - 1);
        return static_cast<std::int32_t>(((bits & sign ? -wide : wide) + half_up) >> right);
    }
};

// floor(n / d) for 0 <= n and n * d < 2^s, with n / d * 2^s < 2^64: one multiplication.
struct Divider {
    std::uint64_t reciprocal;
    int s;
    Divider(std::uint64_t d, int bits) : reciprocal((std::uint64_t{1} << bits) / d + 1), s(bits) {}
    std::int64_t operator()(std::int64_t n) const {
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(n) * reciprocal >> s);
    }
};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// x: `count` integers of magnitude up to 2^30. Writes scales and codes, and returns t.
// code = 128 + floor((2x + D) / 2D) = 1 + floor((x + floor(D / 2) + 127 D) / D), D < 2^24, numerator <= 254.5 D.
int quantise8(const std::int32_t* x, const std::int32_t* largest, std::int64_t blocks, std::int16_t* scales,
              std::uint8_t* codes) {
    const std::int64_t most = *std::max_element(largest, largest + blocks);
    int t = 0;
    while (ceil_div(most, std::int64_t{127} << t) > kScaleMax) ++t;
    for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t scale = std::max<std::int64_t>(1, ceil_div(largest[b], std::int64_t{127} << t));
        const std::int64_t step = scale << t;
        const std::int64_t start = step / 2 + 127 * step;
        const Divider divide(static_cast<std::uint64_t>(step), 2 * bitlen(step) + 8);
        scales[b] = static_cast<std::int16_t>(scale);
        for (int k = 0; k < 32; ++k) codes[32 * b + k] = static_cast<std::uint8_t>(1 + divide(x[32 * b + k] + start));
    }
    return t;
}

// Candidate scales put the block's extreme at -c/8 steps, then at +c/8 steps; the first with the smallest squared error
// is used.
constexpr std::array<int, 16> kCandidates = {-57, -59, -61, -63, -65, -67, -69, -71, -73, -75, -77, 56, 58, 60, 62, 64};

// largest / (c / 8 * 2^t), rounded half up.
std::int64_t eighths(std::int64_t largest, int c, int t) {
    const std::int64_t divisor = std::int64_t{c} << t;
    return (16 * largest + divisor) / (2 * divisor);
}

// x: integers of magnitude up to 2^18. code = 8 + floor((2x + D) / 2D), clamped to 0..15. With x clamped to -8|D| ..
// 7|D| (and negated for D < 0) it is floor((x + floor(|D| / 2) + 8|D|) / |D|); |D| < 2^16, numerator <= 15.5 |D| <
// 2^20, reciprocal <= 2^21. The squared error is sum x^2 + D^2 sum q^2 - 2 D sum xq, q = code - 8: |sum xq| <= 2^26.
int quantise4(const std::int32_t* x, const std::int32_t* largest, std::int64_t blocks, std::int16_t* scales,
              std::uint8_t* codes) {
    const std::int64_t most = *std::max_element(largest, largest + blocks);
    int t = 0;
    while (eighths(most, 56, t) > kScaleMax) ++t;
    for (std::int64_t b = 0; b < blocks; ++b, x += 32, codes += 32) {
        int extreme = 0;
        while (x[extreme] != largest[b] && x[extreme] != -largest[b]) ++extreme;
        std::int64_t squares = 0;
        for (int k = 0; k < 32; ++k) squares += std::int64_t{x[k]} * x[k];
        std::int64_t best = std::numeric_limits<std::int64_t>::max();
        for (const int c : kCandidates) {
            const auto scale =
                static_cast<std::int32_t>(std::max<std::int64_t>(1, eighths(largest[b], std::abs(c), t)));
            const std::int32_t step = scale << t;
            const bool negative = (c < 0) != (x[extreme] < 0);
            const std::int32_t flip = negative ? -1 : 0;
            const int s = 2 * bitlen(step) + 4;
            const auto reciprocal =
                static_cast<std::uint32_t>((std::uint64_t{1} << s) / static_cast<std::uint32_t>(step) + 1);
            const std::int32_t start = step / 2 + 8 * step;
            std::array<std::int32_t, 32> q;
            std::int32_t products = 0, weights = 0;
            for (int k = 0; k < 32; ++k) {
                const std::int32_t value = (x[k] ^ flip) - flip;
                const auto n = static_cast<std::uint32_t>(std::min(std::max(value, -8 * step), 7 * step) + start);
                q[k] = static_cast<std::int32_t>(std::uint64_t{n} * reciprocal >> s) - 8;
                products += value * q[k];
                weights += q[k] * q[k];
            }
            const std::int64_t error = squares + std::int64_t{step} * (std::int64_t{step} * weights - 2 * products);
            if (error >= best) continue;
            best = error;
            scales[b] = static_cast<std::int16_t>(negative ? -scale : scale);
            for (int k = 0; k < 32; ++k) codes[k] = static_cast<std::uint8_t>(q[k] + 8);
        }
    }
    return t;
}

template <class Kind, int Bits>
void float_panel(const Weight& w, const std::uint8_t* source, std::int64_t panel, FirstError& error) {
    using F = Float<Kind>;
    constexpr int kBits = float_bits(Bits);
    const std::int64_t blocks = w.blocks();
    const std::int64_t padded = blocks * Weight::kBlock;
    const std::int64_t first = panel * Weight::kPanel;
    const int valid = valid_rows(w, panel);
    source += first * w.columns * Kind::bytes;
    clear_panel(w, panel);
    std::fill_n(w.scale_exp + first, valid, -kBits);
    if (blocks == 0) return;

    const auto numbers = std::make_unique_for_overwrite<std::int32_t[]>(static_cast<std::size_t>(padded + blocks));
    const auto bytes =
        std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(padded * Weight::kPanel));
    const auto scales = std::make_unique_for_overwrite<std::int16_t[]>(static_cast<std::size_t>(blocks));
    std::int32_t* const x = numbers.get();
    std::int32_t* const largest = x + padded;
    for (int i = 0; i < valid; ++i) {
        const std::uint8_t* row = source + i * w.columns * Kind::bytes;
        std::uint32_t most = 0;
        for (std::int64_t k = 0; k < w.columns; ++k)
            most = std::max(most, F::magnitude(Kind::bits(row + k * Kind::bytes)));
        if (most >= F::infinite) {
            std::int64_t k = 0;
            while (F::magnitude(Kind::bits(row + k * Kind::bytes)) < F::infinite) ++k;
            return error.report(first + i, k);
        }
        const int above = F::above(most);
        for (std::int64_t k = 0; k < w.columns; ++k)
            x[k] = F::template fixed<kBits>(Kind::bits(row + k * Kind::bytes), above);
        std::fill(x + w.columns, x + padded, 0);
        for (std::int64_t b = 0; b < blocks; ++b) {
            std::int32_t size = 0;
            for (int k = 0; k < 32; ++k) size = std::max(size, x[32 * b + k] < 0 ? -x[32 * b + k] : x[32 * b + k]);
            largest[b] = size;
        }
        constexpr auto quantise = Bits == 8 ? quantise8 : quantise4;
        const int t = quantise(x, largest, blocks, scales.get(), bytes.get() + i * padded);
        w.scale_exp[first + i] = t + above - kBits;
        for (std::int64_t b = 0; b < blocks; ++b) w.panel_scales(panel)[Weight::pair_index(b, i)] = scales[b];
    }
    for (std::int64_t b = 0; b < blocks; ++b)
        pack<Bits>(w.panel_codes(panel) + b * w.block_bytes(), valid,
                   [&](int i) { return load<Codes>(bytes.get() + i * padded + 32 * b); });
}

// ---- formats --------------------------------------------------------------------------------------------------------

using Panel = void (*)(const Weight&, const std::uint8_t*, std::int64_t, FirstError&);

// The conversion of a format: creating the empty weight, and converting one panel.
struct Conversion {
    Weight (*shape)(int bits);
    Panel panel;
    Panel panel4 = nullptr;  // of floats, to 4 bits
};

template <class Format> Conversion block_conversion() {
    const auto shape = [](int) {
        Weight w;
        w.bits = Format::bits;
        w.block = Format::block;
        w.zero = Format::zero;
        w.shift = Format::shift;
        w.has_min = Format::has_min;
        if constexpr (Format::table != nullptr) w.set_table(Format::table);
        return w;
    };
    return {shape, block_panel<Format>};
}

template <class Kind> Conversion float_conversion() {
    const auto shape = [](int bits) {
        Weight w;
        w.bits = bits;
        w.block = 32;
        w.zero = bits == 8 ? 128 : 8;
        w.shift = bits == 8 ? 4 : 0;
        return w;
    };
    return {shape, float_panel<Kind, 8>, float_panel<Kind, 4>};
}

Conversion conversion_of(WeightKind kind) {
    switch (kind) {
        case WeightKind::F32:
            return float_conversion<F32>();
        case WeightKind::F16:
            return float_conversion<F16>();
        case WeightKind::BF16:
            return float_conversion<BF16>();
#define INTACT_CONVERSION(name) \
    case WeightKind::name:      \
        return block_conversion<formats::name>();
            INTACT_BLOCK_FORMATS(INTACT_CONVERSION)
#undef INTACT_CONVERSION
    }
    std::abort();  // no other kind exists
}

}  // namespace

Converted convert(const WeightFormat& format, const std::uint8_t* source, std::int64_t rows, std::int64_t columns,
                  int bits, const ParallelFor& parallel_for) {
    const Conversion conversion = conversion_of(format.kind);
    Weight weight = conversion.shape(bits);
    weight.rows = rows;
    weight.columns = columns;
    weight.allocate();
    FirstError error(columns);
    const Panel panel = is_float(format) && bits == 4 ? conversion.panel4 : conversion.panel;
    parallel_for(weight.panels(), [&](std::int64_t p) { panel(weight, source, p, error); });
    if (!error.get()) factor_numbers(weight, parallel_for);
    return {std::move(weight), error.get()};
}

namespace {

template <int Bits> void integer_panel(const Weight& w, const IntegerRows& source, std::int64_t panel) {
    const std::int64_t padded = w.blocks() * Weight::kBlock, count = w.scale_blocks(), first = panel * Weight::kPanel;
    const int valid = valid_rows(w, panel);
    clear_panel(w, panel);
    for (int i = 0; i < valid; ++i) {
        const std::int64_t n = first + i;
        for (std::int64_t b = 0; b < count; ++b) {
            w.panel_scales(panel)[Weight::pair_index(b, i)] = source.scale[n * count + b];
            if (w.has_min) w.panel_minima(panel)[Weight::pair_index(b, i)] = source.minimum[n * count + b];
        }
        w.scale_exp[n] = source.scale_exp[n];
        if (w.has_min) w.minimum_exp[n] = source.minimum_exp[n];
    }
    for (std::int64_t b = 0; b < w.blocks(); ++b)
        pack<Bits>(w.panel_codes(panel) + b * w.block_bytes(), valid,
                   [&](int i) { return load<Codes>(source.codes + (first + i) * padded + 32 * b); });
}

}  // namespace

Weight pack_integers(const IntegerRows& source, const ParallelFor& parallel_for) {
    Weight w;
    w.rows = source.rows;
    w.columns = source.columns;
    w.bits = source.bits;
    w.block = source.block;
    w.zero = source.zero;
    w.shift = source.shift;
    w.has_min = source.minimum != nullptr;
    if (source.table != nullptr) w.set_table(source.table);
    w.allocate();
    const auto panel = w.bits == 8   ? integer_panel<8>
                       : w.bits == 6 ? integer_panel<6>
                       : w.bits == 5 ? integer_panel<5>
                       : w.bits == 4 ? integer_panel<4>
                       : w.bits == 3 ? integer_panel<3>
                                     : integer_panel<2>;
    parallel_for(w.panels(), [&](std::int64_t p) { panel(w, source, p); });
    factor_numbers(w, parallel_for);
    return w;
}

void unpack_codes(const Weight& w, std::int64_t n, std::uint8_t* codes) {
    const auto i = static_cast<int>(n % Weight::kPanel);
    const int base = w.bits == 8 ? 512 : w.bits >= 4 ? 256 : 128;
    for (std::int64_t b = 0; b < w.blocks(); ++b, codes += Weight::kBlock) {
        const std::uint8_t* block = w.panel_codes(n / Weight::kPanel) + b * w.block_bytes();
        const auto pair = [&](const std::uint8_t* plane, int g) {
            return formats::word(plane + g / 4 * 64, i) >> g % 4 * 2 & kPairs;
        };
        for (int g = 0; g < 8; ++g) {
            std::uint32_t c;
            if (w.bits == 8)
                c = formats::word(block + 64 * g, i);
            else if (w.bits >= 4)
                c = formats::word(block + g / 2 * 64, i) >> g % 2 * 4 & kNibbles;
            else
                c = pair(block, g);
            if (w.bits == 6) c |= pair(block + base, g) << 4;
            if (w.bits == 5 || w.bits == 3) {
                const auto mask = load<std::uint64_t>(block + base + 8 * g);
                c |= spread(static_cast<std::uint32_t>(mask >> 4 * i)) << (w.bits - 1);
            }
            store(codes + 4 * g, c);
        }
    }
}

void unpack_row(const Weight& w, std::int64_t n, std::int32_t* centred, std::int16_t* scales, std::int16_t* minima) {
    const auto i = static_cast<int>(n % Weight::kPanel);
    const std::int64_t panel = n / Weight::kPanel;
    if (centred != nullptr) {
        const std::int64_t padded = w.blocks() * Weight::kBlock;
        // Codes are written to the last quarter of the output; each is read before a wider value overwrites it.
        std::uint8_t* const codes = reinterpret_cast<std::uint8_t*>(centred) + 3 * padded;
        unpack_codes(w, n, codes);
        for (std::int64_t k = 0; k < padded; ++k) {
            const std::uint8_t code = codes[k];
            centred[k] = (w.has_table ? w.table[code] : code) - w.zero;
        }
    }
    for (std::int64_t b = 0; b < w.scale_blocks(); ++b) {
        if (scales != nullptr) scales[b] = w.scales.at(panel, w.pairs(), b, i);
        if (minima != nullptr && w.has_min) minima[b] = w.minima.at(panel, w.pairs(), b, i);
    }
}

}  // namespace intact
