// Every kind is a struct: the layout of its source block and of its integer weight, scales() for a source block's exact
// scales D and minima M in units of 2^-24, and codes() for one part of 32 values as eight dwords of four codes. The
// loops over rows, panels and lines are shared. Bounds are those of docs/numerics.md, section 1.
#include "formats/convert.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <limits>
#include <memory>
#include <type_traits>

namespace intact {
namespace {

static_assert(std::endian::native == std::endian::little, "panels and GGUF are little-endian");

constexpr std::int64_t kScaleMax = 32767;
constexpr std::uint32_t kNibbles = 0x0f0f0f0f;
constexpr std::uint32_t kPairs = 0x03030303;
constexpr std::uint32_t kOnes = 0x01010101;

using Codes = std::array<std::uint32_t, 8>;

template <class T> T load(const std::uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <class T> void store(std::uint8_t* at, T value) { std::memcpy(at, &value, sizeof value); }

std::uint32_t dword(const std::uint8_t* at, int index) { return load<std::uint32_t>(at + 4 * index); }

std::int64_t rshift(std::int64_t x, int s) { return s == 0 ? x : (x + (std::int64_t{1} << (s - 1))) >> s; }

int bitlen(std::int64_t x) { return std::bit_width(static_cast<std::uint64_t>(x)); }

// A float16 in units of 2^-24; false for NaN and infinity.
bool half(const std::uint8_t* at, std::int64_t& value) {
    const std::uint32_t bits = load<std::uint16_t>(at);
    const std::uint32_t exponent = bits >> 10 & 31;
    const std::int64_t fraction = bits & 0x3ff;
    const std::int64_t magnitude = exponent == 0 ? fraction : (fraction | 0x400) << (exponent - 1);
    value = bits & 0x8000 ? -magnitude : magnitude;
    return exponent != 31;
}

bool halves(const std::uint8_t* first, std::int64_t& x, const std::uint8_t* second, std::int64_t& y) {
    const bool one = half(first, x), two = half(second, y);
    return one && two;
}

// Four bits to the four bytes of a dword, and back.
std::uint32_t spread(std::uint32_t bits) { return (bits & 15) * 0x00204081u & kOnes; }
std::uint32_t gather(std::uint32_t bytes) { return ((bytes & kOnes) * 0x01020408u) >> 24 & 15; }

Codes nibble_halves(const std::uint8_t* packed) {
    Codes c;
    for (int i = 0; i < 4; ++i) {
        const std::uint32_t q = dword(packed, i);
        c[i] = q & kNibbles;
        c[i + 4] = q >> 4 & kNibbles;
    }
    return c;
}

// Field `index` of `mask` width in each of 32 bytes.
Codes fields(const std::uint8_t* packed, int shift, std::uint32_t mask) {
    Codes c;
    for (int i = 0; i < 8; ++i) c[i] = dword(packed, i) >> shift & mask;
    return c;
}

void add_fields(Codes& c, const std::uint8_t* packed, int shift, std::uint32_t mask, int to) {
    for (int i = 0; i < 8; ++i) c[i] |= (dword(packed, i) >> shift & mask) << to;
}

void add_fifth_bits(Codes& c, const std::uint8_t* packed) {
    const std::uint32_t high = load<std::uint32_t>(packed);
    for (int g = 0; g < 8; ++g) c[g] |= spread(high >> 4 * g) << 4;
}

constexpr std::array<std::int16_t, 16> kIq4 = {1,   24,  45,  63,  79,  93,  106, 118,
                                               129, 141, 153, 166, 181, 197, 217, 241};  // values + 128
constexpr std::array<std::int16_t, 16> kMxfp4 = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

template <int Values, int Bytes, int Bits, int Block, int Zero, int Shift, bool HasMin = false> struct Layout {
    static constexpr int values = Values, bytes = Bytes, bits = Bits, block = Block, zero = Zero, shift = Shift;
    static constexpr int scale_count = Values / Block;
    static constexpr bool has_min = HasMin;
    static constexpr const std::array<std::int16_t, 16>* table = nullptr;
    static constexpr bool powers_of_two = false;
};

struct Q4_0 : Layout<32, 18, 4, 32, 8, 0> {
    static constexpr std::string_view name = "Q4_0";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) { return half(s, d[0]); }
    static Codes codes(const std::uint8_t* s, int) { return nibble_halves(s + 2); }
};

struct Iq4Nl : Layout<32, 18, 4, 32, 128, 4> {
    static constexpr std::string_view name = "IQ4_NL";
    static constexpr auto table = &kIq4;
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) { return half(s, d[0]); }
    static Codes codes(const std::uint8_t* s, int) { return nibble_halves(s + 2); }
};

struct Q4_1 : Layout<32, 20, 4, 32, 8, 0, true> {
    static constexpr std::string_view name = "Q4_1";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t* m) {
        const bool finite = halves(s, d[0], s + 2, m[0]);
        m[0] += zero * d[0];
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int) { return nibble_halves(s + 4); }
};

struct Q5_0 : Layout<32, 22, 5, 32, 16, 1> {
    static constexpr std::string_view name = "Q5_0";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) { return half(s, d[0]); }
    static Codes codes(const std::uint8_t* s, int) {
        Codes c = nibble_halves(s + 6);
        add_fifth_bits(c, s + 2);
        return c;
    }
};

struct Q5_1 : Layout<32, 24, 5, 32, 16, 1, true> {
    static constexpr std::string_view name = "Q5_1";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t* m) {
        const bool finite = halves(s, d[0], s + 2, m[0]);
        m[0] += zero * d[0];
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int) {
        Codes c = nibble_halves(s + 8);
        add_fifth_bits(c, s + 4);
        return c;
    }
};

struct Q8_0 : Layout<32, 34, 8, 32, 128, 4> {
    static constexpr std::string_view name = "Q8_0";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) { return half(s, d[0]); }
    static Codes codes(const std::uint8_t* s, int) {
        Codes c;
        for (int i = 0; i < 8; ++i) c[i] = dword(s + 2, i) ^ 0x80808080u;
        return c;
    }
};

struct Q2K : Layout<256, 84, 2, 16, 2, 0, true> {
    static constexpr std::string_view name = "Q2_K";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t* m) {
        std::int64_t scale, minimum;
        const bool finite = halves(s + 80, scale, s + 82, minimum);
        for (int b = 0; b < 16; ++b) {
            d[b] = scale * (s[b] & 15);
            m[b] = zero * d[b] - minimum * (s[b] >> 4);
        }
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int part) { return fields(s + 16 + part / 4 * 32, part % 4 * 2, kPairs); }
};

struct Q3K : Layout<256, 110, 3, 16, 4, 0> {
    static constexpr std::string_view name = "Q3_K";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) {
        std::int64_t scale;
        const bool finite = half(s + 108, scale);
        for (int b = 0; b < 16; ++b) {
            const int low = s[96 + b % 8] >> (b / 8 * 4) & 15;
            const int high = s[104 + b % 4] >> (b / 4 * 2) & 3;
            d[b] = scale * ((low | high << 4) - 32);
        }
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int part) {
        Codes c = fields(s + 32 + part / 4 * 32, part % 4 * 2, kPairs);
        add_fields(c, s, part, kOnes, 2);
        return c;
    }
};

// Scales and minima that Q4_K and Q5_K share: eight of six bits each in bytes 4 to 15.
template <int Zero> bool k_scales(const std::uint8_t* s, std::int64_t* d, std::int64_t* m) {
    std::int64_t scale, minimum;
    const bool finite = halves(s, scale, s + 2, minimum);
    for (int b = 0; b < 8; ++b) {
        const std::uint8_t* at = s + 4 + b % 4;
        const int low = b < 4 ? at[0] & 63 : (at[8] & 15) | (at[0] >> 2 & 48);
        const int high = b < 4 ? at[4] & 63 : at[8] >> 4 | (at[4] >> 2 & 48);
        d[b] = scale * low;
        m[b] = Zero * d[b] - minimum * high;
    }
    return finite;
}

struct Q4K : Layout<256, 144, 4, 32, 8, 0, true> {
    static constexpr std::string_view name = "Q4_K";
    static constexpr auto scales = k_scales<zero>;
    static Codes codes(const std::uint8_t* s, int part) {
        return fields(s + 16 + part / 2 * 32, part % 2 * 4, kNibbles);
    }
};

struct Q5K : Layout<256, 176, 5, 32, 16, 1, true> {
    static constexpr std::string_view name = "Q5_K";
    static constexpr auto scales = k_scales<zero>;
    static Codes codes(const std::uint8_t* s, int part) {
        Codes c = fields(s + 48 + part / 2 * 32, part % 2 * 4, kNibbles);
        add_fields(c, s + 16, part, kOnes, 4);
        return c;
    }
};

struct Q6K : Layout<256, 210, 6, 16, 32, 2> {
    static constexpr std::string_view name = "Q6_K";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) {
        std::int64_t scale;
        const bool finite = half(s + 208, scale);
        for (int b = 0; b < 16; ++b) d[b] = scale * static_cast<std::int8_t>(s[192 + b]);
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int part) {
        const int chunk = part / 4, field = part % 4;
        Codes c = fields(s + chunk * 64 + field % 2 * 32, field / 2 * 4, kNibbles);
        add_fields(c, s + 128 + chunk * 32, field * 2, kPairs, 4);
        return c;
    }
};

struct Iq4Xs : Layout<256, 136, 4, 32, 128, 4> {
    static constexpr std::string_view name = "IQ4_XS";
    static constexpr auto table = &kIq4;
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) {
        std::int64_t scale;
        const bool finite = half(s, scale);
        const int high = load<std::uint16_t>(s + 2);
        for (int b = 0; b < 8; ++b) {
            const int low = s[4 + b / 2] >> (b % 2 * 4) & 15;
            d[b] = scale * ((low | (high >> 2 * b & 3) << 4) - 32);
        }
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int part) { return nibble_halves(s + 8 + 16 * part); }
};

struct Mxfp4 : Layout<32, 17, 4, 32, 12, 1> {
    static constexpr std::string_view name = "MXFP4";
    static constexpr auto table = &kMxfp4;
    static constexpr bool powers_of_two = true;
    static bool scales(const std::uint8_t* s, std::int64_t* exponent, std::int64_t*) {
        exponent[0] = s[0];
        return s[0] != 255;
    }
    static Codes codes(const std::uint8_t* s, int) { return nibble_halves(s + 1); }
};

struct Tq1 : Layout<256, 54, 2, 32, 1, 0> {
    static constexpr std::string_view name = "TQ1_0";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) {
        const bool finite = half(s + 52, d[0]);
        std::fill(d + 1, d + scale_count, d[0]);
        return finite;
    }
    // The trits of that power in `count` bytes.
    static void trits(std::uint8_t* out, const std::uint8_t* packed, int count, int power) {
        constexpr std::array<std::uint8_t, 5> powers = {1, 3, 9, 27, 81};
        for (int k = 0; k < count; ++k) {
            const auto fraction = static_cast<std::uint8_t>(packed[k] * powers[power]);
            out[k] = static_cast<std::uint8_t>(fraction * 3 >> 8);
        }
    }
    static Codes codes(const std::uint8_t* s, int part) {
        std::array<std::uint8_t, 32> c;
        if (part < 5) {
            trits(c.data(), s, 32, part);
        } else if (part < 7) {
            for (int h = 0; h < 2; ++h) trits(c.data() + 16 * h, s + 32, 16, (part - 5) * 2 + h);
        } else {
            trits(c.data(), s + 32, 16, 4);
            for (int power = 0; power < 4; ++power) trits(c.data() + 16 + 4 * power, s + 48, 4, power);
        }
        return std::bit_cast<Codes>(c);
    }
};

struct Tq2 : Layout<256, 66, 2, 32, 1, 0> {
    static constexpr std::string_view name = "TQ2_0";
    static bool scales(const std::uint8_t* s, std::int64_t* d, std::int64_t*) {
        const bool finite = half(s + 64, d[0]);
        std::fill(d + 1, d + scale_count, d[0]);
        return finite;
    }
    static Codes codes(const std::uint8_t* s, int part) { return fields(s + part / 4 * 32, part % 4 * 2, kPairs); }
};

// ---- panels ---------------------------------------------------------------------------------------------------------

// Writes the codes of 16 outputs and 32 inputs; codes_of(i) gives output i's. Outputs from `valid` on get zeros.
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

// The least t >= 0 with rshift(largest, t) <= 32767.
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

// Clears what the outputs of an incomplete last panel, and the odd last scale and minimum, would leave unwritten.
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
            if (!Kind::scales(row + s * Kind::bytes, d + at, m + at)) return error.report(first + i, s * Kind::values);
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
            w.scale_exp[first + i] = t - 24;
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
    static constexpr std::string_view name = "F32";
    static constexpr int bytes = 4, fraction_bits = 23, bias = 150, sign_bit = 31;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint32_t>(at); }
};
struct F16 {
    static constexpr std::string_view name = "F16";
    static constexpr int bytes = 2, fraction_bits = 10, bias = 25, sign_bit = 15;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint16_t>(at); }
};
struct Bf16 {
    static constexpr std::string_view name = "BF16";
    static constexpr int bytes = 2, fraction_bits = 7, bias = 134, sign_bit = 15;
    static std::uint32_t bits(const std::uint8_t* at) { return load<std::uint16_t>(at); }
};

// Fraction bits of a row's integers below its exponent E.
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
    // The least E with |x| < 2^E; 0 for zero.
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

// x: `count` integers of at most 2^30 in size. Returns t; scales and codes are written.
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

// The block's extreme lies at -c/8 steps, then at +c/8 steps; the first of the least squared error wins.
constexpr std::array<int, 16> kCandidates = {-57, -59, -61, -63, -65, -67, -69, -71, -73, -75, -77, 56, 58, 60, 62, 64};

// largest / (c / 8 * 2^t), rounded half up.
std::int64_t eighths(std::int64_t largest, int c, int t) {
    const std::int64_t divisor = std::int64_t{c} << t;
    return (16 * largest + divisor) / (2 * divisor);
}

// x: integers of at most 2^18 in size. code = 8 + floor((2x + D) / 2D), clamped to 0..15. With x clamped to -8|D| ..
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

// ---- kinds ----------------------------------------------------------------------------------------------------------

using Panel = void (*)(const Weight&, const std::uint8_t*, std::int64_t, FirstError&);

struct Entry {
    SourceKind kind;
    Weight (*shape)(int bits);
    Panel panel;
    Panel panel4 = nullptr;  // of float kinds, to 4 bits
};

template <class Kind> Entry block_entry() {
    const auto shape = [](int) {
        Weight w;
        w.bits = Kind::bits;
        w.block = Kind::block;
        w.zero = Kind::zero;
        w.shift = Kind::shift;
        w.has_min = Kind::has_min;
        w.has_table = Kind::table != nullptr;
        if constexpr (Kind::table != nullptr) std::copy(Kind::table->begin(), Kind::table->end(), w.table);
        return w;
    };
    return {{Kind::name, Kind::values, Kind::bytes, false}, shape, block_panel<Kind>};
}

template <class Kind> Entry float_entry() {
    const auto shape = [](int bits) {
        Weight w;
        w.bits = bits;
        w.block = 32;
        w.zero = bits == 8 ? 128 : 8;
        w.shift = bits == 8 ? 4 : 0;
        return w;
    };
    return {{Kind::name, 1, Kind::bytes, true}, shape, float_panel<Kind, 8>, float_panel<Kind, 4>};
}

const std::array kEntries = {
    float_entry<F32>(),   float_entry<F16>(),  float_entry<Bf16>(), block_entry<Q4_0>(),  block_entry<Q4_1>(),
    block_entry<Q5_0>(),  block_entry<Q5_1>(), block_entry<Q8_0>(), block_entry<Q2K>(),   block_entry<Q3K>(),
    block_entry<Q4K>(),   block_entry<Q5K>(),  block_entry<Q6K>(),  block_entry<Iq4Nl>(), block_entry<Iq4Xs>(),
    block_entry<Mxfp4>(), block_entry<Tq1>(),  block_entry<Tq2>(),
};

}  // namespace

const SourceKind* source_kind(std::string_view name) {
    const auto found =
        std::find_if(kEntries.begin(), kEntries.end(), [&](const Entry& e) { return e.kind.name == name; });
    return found == kEntries.end() ? nullptr : &found->kind;
}

std::int64_t source_bytes(const SourceKind& kind, std::int64_t rows, std::int64_t columns) {
    return rows * (columns / kind.block_values) * kind.block_bytes;
}

Converted convert(const SourceKind& kind, const std::uint8_t* source, std::int64_t rows, std::int64_t columns, int bits,
                  const ParallelFor& parallel_for) {
    const Entry& entry =
        *std::find_if(kEntries.begin(), kEntries.end(), [&](const Entry& e) { return e.kind.name == kind.name; });
    Weight weight = entry.shape(bits);
    weight.rows = rows;
    weight.columns = columns;
    weight.allocate();
    FirstError error(columns);
    const Panel panel = kind.is_float && bits == 4 ? entry.panel4 : entry.panel;
    parallel_for(weight.panels(), [&](std::int64_t p) { panel(weight, source, p, error); });
    return {std::move(weight), error.get()};
}

void unpack_codes(const Weight& w, std::int64_t n, std::uint8_t* codes) {
    const auto i = static_cast<int>(n % Weight::kPanel);
    const int base = w.bits == 8 ? 512 : w.bits >= 4 ? 256 : 128;
    for (std::int64_t b = 0; b < w.blocks(); ++b, codes += Weight::kBlock) {
        const std::uint8_t* block = w.panel_codes(n / Weight::kPanel) + b * w.block_bytes();
        const auto pair = [&](const std::uint8_t* plane, int g) {
            return dword(plane + g / 4 * 64, i) >> g % 4 * 2 & kPairs;
        };
        for (int g = 0; g < 8; ++g) {
            std::uint32_t c;
            if (w.bits == 8)
                c = dword(block + 64 * g, i);
            else if (w.bits >= 4)
                c = dword(block + g / 2 * 64, i) >> g % 2 * 4 & kNibbles;
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
        // Codes go to the last quarter of the output; each is read before a wider value overwrites it.
        std::uint8_t* const codes = reinterpret_cast<std::uint8_t*>(centred) + 3 * padded;
        unpack_codes(w, n, codes);
        for (std::int64_t k = 0; k < padded; ++k) {
            const std::uint8_t code = codes[k];
            centred[k] = (w.has_table ? w.table[code] : code) - w.zero;
        }
    }
    for (std::int64_t b = 0; b < w.scale_blocks(); ++b) {
        if (scales != nullptr) scales[b] = w.panel_scales(panel)[Weight::pair_index(b, i)];
        if (minima != nullptr && w.has_min) minima[b] = w.panel_minima(panel)[Weight::pair_index(b, i)];
    }
}

}  // namespace intact
