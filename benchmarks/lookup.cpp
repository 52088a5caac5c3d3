// Products of rows of int8 with weights of 1 to 4 bits, by looking up and by counting bits instead of multiplying.
// benchmarks/lookup.py compiles this, compares it with NumPy and with the engine's own product, and times it.
//
// Both compute section 4 of docs/spec/numerics.md for blocks of 32 inputs with r = 0 and without minima:
//     h[b] = sum over the block of (step * code - zero) * a        S = sum over groups of rshift(G[g], 7)
//     c[b] = rshift(scale[n, b] * A[b], 15)                         G[g] = sum over eight blocks of h[b] * c[b]
// (step: 2 for one bit, whose weights are -1 and 1; otherwise 1). The scalar forms define what the vectors give.
//
// Looking up (T-MAC, exactly): bit p of the codes of four inputs is a number from 0 to 15, and a table says for each
// what the four activations come to. Their sums, 512 added, lie in 0..1020: 5 low bits and 5 high ones are looked up
// apart, and eight of each, those of a block, add up in a byte (8 * 31 = 248).
//
// Counting (bit planes): with activations in two's complement, sum(code * a) = sum over bits p of the code and q of the
// activation of 2^(p + q) * popcount(both set), taken off for the highest q.
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#if defined(__AVX2__)
#    include <immintrin.h>
#endif

namespace {

constexpr std::int64_t kBlock = 32, kGroup = 8, kChunk = 32;  // inputs of a block; blocks of a group and of a chunk
constexpr std::int64_t kOffset = 512;                         // added to the entries of tables
// Bytes of a row's tables of a chunk, and a line of the cache so that rows do not meet in its sets.
constexpr std::int64_t kRowTables = kChunk * 8 * 32 + 64;

// The shape of a product, and what a code stands for: step * code - zero.
struct Shape {
    int bits, zero;
    std::int64_t outputs, blocks;

    int step() const { return bits == 1 ? 2 : 1; }
    std::int64_t pairs() const { return (blocks + 1) / 2; }
    std::int64_t panels(std::int64_t width) const { return (outputs + width - 1) / width; }
};

// Rows of int8 codes [rows][blocks * 32] and the scales of their blocks [rows][blocks].
struct Rows {
    std::int64_t rows, blocks;
    const std::int8_t* codes;
    const std::int16_t* scales;

    const std::int8_t* block(std::int64_t row, std::int64_t b) const { return codes + (row * blocks + b) * kBlock; }
    std::int32_t sum(std::int64_t row, std::int64_t b) const {
        std::int32_t sum = 0;
        for (std::int64_t k = 0; k < kBlock; k++) sum += block(row, b)[k];
        return sum;
    }
    std::int16_t scale(std::int64_t row, std::int64_t b) const { return b < blocks ? scales[row * blocks + b] : 0; }
};

std::int32_t round_shift(std::int32_t x, int s) { return (x + (1 << (s - 1))) >> s; }
std::int16_t factor(std::int16_t scale, std::int16_t own) {
    return static_cast<std::int16_t>(round_shift(std::int32_t{scale} * own, 15));
}

// The results of the blocks' sums h(row, output, block).
template <class F> void finish(const Shape& s, const Rows& x, const std::int16_t* scales, std::int32_t* out, F h) {
    for (std::int64_t m = 0; m < x.rows; m++)
        for (std::int64_t n = 0; n < s.outputs; n++) {
            std::int32_t sum = 0;
            for (std::int64_t first = 0; first < s.blocks; first += kGroup) {
                std::int32_t group = 0;
                for (std::int64_t b = first; b < s.blocks && b < first + kGroup; b++)
                    group += h(m, n, b) * factor(scales[n * s.blocks + b], x.scale(m, b));
                sum += round_shift(group, 7);
            }
            out[m * s.outputs + n] = sum;
        }
}

// What four activations come to for each of the 16 patterns of bits.
void make_table(const std::int8_t* x, std::int16_t* table) {
    for (int i = 0; i < 16; i++) {
        std::int32_t sum = 0;
        for (int j = 0; j < 4; j++) sum += (i >> j & 1) * x[j];
        table[i] = static_cast<std::int16_t>(sum);
    }
}

void look_up_scalar(const Shape& s, const Rows& x, const std::uint8_t* codes, const std::int16_t* scales,
                    std::int32_t* out) {
    std::vector<std::int16_t> tables(static_cast<std::size_t>(x.rows * s.blocks * 8 * 16));
    for (std::int64_t i = 0; i < x.rows * s.blocks * 8; i++) make_table(x.codes + 4 * i, tables.data() + 16 * i);
    finish(s, x, scales, out, [&](std::int64_t m, std::int64_t n, std::int64_t b) {
        std::int32_t sum = -s.zero * x.sum(m, b);
        for (int g = 0; g < 8; g++)
            for (int p = 0; p < s.bits; p++) {
                int pattern = 0;
                for (int j = 0; j < 4; j++) pattern |= (codes[(n * s.blocks + b) * kBlock + 4 * g + j] >> p & 1) << j;
                sum += s.step() * tables[static_cast<std::size_t>(((m * s.blocks + b) * 8 + g) * 16 + pattern)] << p;
            }
        return sum;
    });
}

// Bit `bit` of 32 codes.
template <class T> std::uint32_t plane(const T* codes, int bit) {
    std::uint32_t bits = 0;
    for (int k = 0; k < kBlock; k++) bits |= static_cast<std::uint32_t>(codes[k] >> bit & 1) << k;
    return bits;
}

void count_scalar(const Shape& s, const Rows& x, int activation_bits, const std::uint8_t* codes,
                  const std::int16_t* scales, std::int32_t* out) {
    const int top = activation_bits - 1;
    finish(s, x, scales, out, [&](std::int64_t m, std::int64_t n, std::int64_t b) {
        std::int32_t sum = -s.zero * x.sum(m, b);
        for (int p = 0; p < s.bits; p++) {
            const std::uint32_t w = plane(codes + (n * s.blocks + b) * kBlock, p);
            for (int q = 0; q <= top; q++) {
                const std::int32_t count = std::popcount(w & plane(x.block(m, b), q)) << (p + q);
                sum += s.step() * (q == top ? -count : count);
            }
        }
        return sum;
    });
}

// The bipolar form: 2 * code + 1 - 2^bits and 2 * a + 1 are sums of +-2^p, whose products count unlike bits:
// sum over p, q of 2^(p + q) * (32 - 2 * popcount(w xor x)). The sums of codes and of activations bring it back.
void count_bipolar(const Shape& s, const Rows& x, int activation_bits, const std::uint8_t* codes,
                   const std::int16_t* scales, std::int32_t* out) {
    const std::int32_t most = (1 << s.bits) - 1;
    finish(s, x, scales, out, [&](std::int64_t m, std::int64_t n, std::int64_t b) {
        const std::uint8_t* own = codes + (n * s.blocks + b) * kBlock;
        std::int8_t shifted[kBlock];
        std::int32_t product = 0, of_codes = 0;
        for (int k = 0; k < kBlock; k++) {
            shifted[k] = static_cast<std::int8_t>(x.block(m, b)[k] + (1 << (activation_bits - 1)));
            of_codes += own[k];
        }
        for (int p = 0; p < s.bits; p++)
            for (int q = 0; q < activation_bits; q++)
                product += (32 - 2 * std::popcount(plane(own, p) ^ plane(shifted, q))) * (1 << (p + q));
        const std::int32_t of_rows = x.sum(m, b);
        const std::int32_t sum = (product - 2 * of_codes + 2 * most * of_rows + most * 32) / 4;
        return s.step() * sum - s.zero * of_rows;
    });
}

constexpr std::int64_t larger(std::int64_t a, std::int64_t b) { return a > b ? a : b; }
constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// What a pair of blocks of a row brings to a product beside its codes.
struct PairOfRow {
    std::int32_t start[2];  // of the sums: -zero * sum of the codes, less what the tables' offset comes to
    std::int16_t scale[2];
};

PairOfRow pair_of(const Shape& s, const Rows& x, std::int64_t row, std::int64_t pair, std::int32_t offset) {
    PairOfRow of{};
    for (int i = 0; i < 2; i++)
        if (2 * pair + i < s.blocks) {
            of.start[i] = -s.zero * x.sum(row, 2 * pair + i) - offset;
            of.scale[i] = x.scale(row, 2 * pair + i);
        }
    return of;
}

// Panels of 32 outputs for looking up, [chunk of 32 blocks][panel][pair of blocks]: 8 x bits vectors of 32 bytes, of
// groups 2i (low nibbles) and 2i + 1 (high ones) of the pair's 16 groups of four inputs; then the scales
// [32 outputs][2 blocks].
constexpr std::int64_t kPanel = 32;

std::int64_t pair_bytes(int bits) { return 256 * bits + 128; }
std::int64_t chunk_pairs(const Shape& s, std::int64_t chunk) {
    return smaller(kChunk / 2, s.pairs() - chunk * kChunk / 2);
}
// The byte of a panel's output: unpacking interleaves, so that sums come out in order.
constexpr std::int64_t byte_of(std::int64_t output) {
    const std::int64_t l = output % 8;
    return output / 8 * 4 + l % 4 + l / 4 * 16;
}

std::int64_t look_up_bytes(const Shape& s) { return s.panels(kPanel) * s.pairs() * pair_bytes(s.bits); }

void pack_look_up(const Shape& s, const std::uint8_t* codes, const std::int16_t* scales, std::uint8_t* to) {
    std::memset(to, 0, static_cast<std::size_t>(look_up_bytes(s)));
    for (std::int64_t first = 0; first < s.pairs(); first += kChunk / 2)
        for (std::int64_t panel = 0; panel < s.panels(kPanel); panel++)
            for (std::int64_t pair = first; pair < smaller(first + kChunk / 2, s.pairs()); pair++) {
                for (std::int64_t i = 0; i < kPanel && panel * kPanel + i < s.outputs; i++)
                    for (std::int64_t b = 2 * pair; b < smaller(2 * pair + 2, s.blocks); b++) {
                        const std::int64_t at = (panel * kPanel + i) * s.blocks + b;
                        for (std::int64_t k = 0; k < kBlock; k++)
                            for (int p = 0; p < s.bits; p++) {
                                const std::int64_t group = b % 2 * 8 + k / 4;
                                const int bit = codes[at * kBlock + k] >> p & 1;
                                to[(group / 2 * s.bits + p) * 32 + byte_of(i)] |=
                                    static_cast<std::uint8_t>(bit << (k % 4 + group % 2 * 4));
                            }
                        std::memcpy(to + 256 * s.bits + (2 * i + b % 2) * 2, scales + at, 2);
                    }
                to += pair_bytes(s.bits);
            }
}

// Panels of 8 outputs for counting, [panel][pair of blocks]: of either block `bits` vectors of eight words of 32 bits,
// an output's bits of the block's inputs; then the scales [8 outputs][2 blocks]. Panels come in twos.
constexpr std::int64_t kWords = 8;
constexpr int kTwo = 2;

std::int64_t count_pair_bytes(int bits) { return 64 * bits + 32; }
std::int64_t count_panels_of(const Shape& s) { return s.panels(kTwo * kWords) * kTwo; }
std::int64_t count_bytes(const Shape& s) { return count_panels_of(s) * s.pairs() * count_pair_bytes(s.bits); }

void pack_count(const Shape& s, const std::uint8_t* codes, const std::int16_t* scales, std::uint8_t* to) {
    std::memset(to, 0, static_cast<std::size_t>(count_bytes(s)));
    for (std::int64_t panel = 0; panel < count_panels_of(s); panel++)
        for (std::int64_t pair = 0; pair < s.pairs(); pair++, to += count_pair_bytes(s.bits))
            for (std::int64_t i = 0; i < kWords && panel * kWords + i < s.outputs; i++)
                for (std::int64_t b = 2 * pair; b < smaller(2 * pair + 2, s.blocks); b++) {
                    const std::int64_t at = (panel * kWords + i) * s.blocks + b;
                    for (int p = 0; p < s.bits; p++) {
                        const std::uint32_t bits = plane(codes + at * kBlock, p);
                        std::memcpy(to + (b % 2 * s.bits + p) * 32 + 4 * i, &bits, 4);
                    }
                    std::memcpy(to + 64 * s.bits + (2 * i + b % 2) * 2, scales + at, 2);
                }
}

// The same panels for multiplying: byte 4 * output + j of a vector has bits of inputs 4g + j. With 1 bit, bit g of
// group g; with 2, fields of four groups; with 3, those and then the bits above; with 4, nibbles of two groups.
void pack_multiply(const Shape& s, const std::uint8_t* codes, const std::int16_t* scales, std::uint8_t* to) {
    std::memset(to, 0, static_cast<std::size_t>(count_bytes(s)));
    for (std::int64_t panel = 0; panel < count_panels_of(s); panel++)
        for (std::int64_t pair = 0; pair < s.pairs(); pair++, to += count_pair_bytes(s.bits))
            for (std::int64_t i = 0; i < kWords && panel * kWords + i < s.outputs; i++)
                for (std::int64_t b = 2 * pair; b < smaller(2 * pair + 2, s.blocks); b++) {
                    const std::int64_t at = (panel * kWords + i) * s.blocks + b;
                    for (std::int64_t k = 0; k < kBlock; k++) {
                        std::uint8_t* const byte = to + b % 2 * s.bits * 32 + 4 * i + k % 4;
                        const std::int64_t g = k / 4, fields = s.bits == 3 ? 2 : s.bits, each = 8 / fields;
                        const int code = codes[at * kBlock + k];
                        byte[g / each * 32] |=
                            static_cast<std::uint8_t>((code & ((1 << fields) - 1)) << g % each * fields);
                        if (s.bits == 3) byte[64] |= static_cast<std::uint8_t>(code >> 2 << g);
                    }
                    std::memcpy(to + 64 * s.bits + (2 * i + b % 2) * 2, scales + at, 2);
                }
}

template <int N, class F> [[gnu::always_inline]] inline void repeat(F f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) __attribute__((always_inline)) {
        (f.template operator()<static_cast<int>(I)>(), ...);
    }(std::make_index_sequence<static_cast<std::size_t>(N)>());
}

#if defined(__AVX2__)
#    define LOOKUP_VECTORS 1

using Vector = __m256i;
inline Vector load(const void* p) { return _mm256_loadu_si256(static_cast<const Vector*>(p)); }
inline void store(void* p, Vector x) { _mm256_storeu_si256(static_cast<Vector*>(p), x); }
inline Vector twice(const void* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline Vector broadcast(std::int32_t x) { return _mm256_set1_epi32(x); }
inline Vector broadcast_pair(const std::int16_t* p) {
    std::int32_t both;
    std::memcpy(&both, p, 4);
    return broadcast(both);
}

// The tables of four activations: the 16 low parts, then the 16 high ones.
inline void make_parts(const std::int8_t* x, std::uint8_t* to) {
    // Bytes j of pattern i: whether bit j is set. Patterns in the order in which packing leaves them sorted.
    alignas(32) static constexpr auto kPatterns = [] {
        struct {
            std::uint8_t of[2][32];
        } made{};
        constexpr int order[2][8] = {{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15}};
        for (int v = 0; v < 2; v++)
            for (int i = 0; i < 32; i++) made.of[v][i] = static_cast<std::uint8_t>(order[v][i / 4] >> (i % 4) & 1);
        return made;
    }();
    std::int32_t four;
    std::memcpy(&four, x, 4);
    const Vector own = broadcast(four), ones = _mm256_set1_epi16(1);
    const Vector first = _mm256_madd_epi16(_mm256_maddubs_epi16(load(kPatterns.of[0]), own), ones);
    const Vector second = _mm256_madd_epi16(_mm256_maddubs_epi16(load(kPatterns.of[1]), own), ones);
    const Vector sums = _mm256_add_epi16(_mm256_packs_epi32(first, second), _mm256_set1_epi16(kOffset));
    const Vector parts = _mm256_packus_epi16(_mm256_and_si256(sums, _mm256_set1_epi16(31)), _mm256_srli_epi16(sums, 5));
    store(to, _mm256_permute4x64_epi64(parts, 0xD8));
}

// Sixteen sums of a block in 16 bits, of bytes 0-7 and 16-23 and of the others.
struct Halves {
    Vector a, b;
};

// The sums of a block, of those of the parts of every bit of its codes.
template <int BITS> inline Halves join_parts(const Vector* low, const Vector* high, Vector start) {
    Halves sum{start, start};
    repeat<(BITS + 1) / 2>([&]<int i>() {
        Halves two{};
        repeat<(BITS - 2 * i < 2 ? 1 : 2)>([&]<int j>() {
            constexpr int p = 2 * i + j, kStep = BITS == 1 ? 2 : 1 << j;
            const Vector by = _mm256_set1_epi16(kStep | kStep << 13);  // 1 and 32, times a power of two
            const Vector a = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(low[p], high[p]), by);
            const Vector b = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(low[p], high[p]), by);
            two = j == 0 ? Halves{a, b} : Halves{_mm256_add_epi16(two.a, a), _mm256_add_epi16(two.b, b)};
        });
        if (i == 1) two = {_mm256_slli_epi16(two.a, 2), _mm256_slli_epi16(two.b, 2)};
        sum = {_mm256_add_epi16(sum.a, two.a), _mm256_add_epi16(sum.b, two.b)};
    });
    return sum;
}

// T rows by V panels, over the pairs of one chunk. EXACT: otherwise the low parts count as 16 each, which halves the
// work and errs by up to 16 a look-up.
template <int BITS, int T, int V, bool EXACT>
void look_up_tile(const std::uint8_t* w, std::int64_t pairs, const std::uint8_t* tables, const PairOfRow* x,
                  std::int64_t x_step, bool first, std::int32_t* out, std::int64_t stride) {
    const Vector nibble = _mm256_set1_epi8(15);
    const std::int64_t step = pairs * pair_bytes(BITS);  // from panel to panel
    for (std::int64_t begin = 0; begin < pairs; begin += kGroup / 2) {
        Vector group[T][V][4];
        repeat<T * V * 4>([&]<int i>() { group[i / 4 / V][i / 4 % V][i % 4] = broadcast(64); });
        for (std::int64_t pair = begin; pair < smaller(begin + kGroup / 2, pairs); pair++, w += pair_bytes(BITS)) {
            Halves half[2][T][V];
            repeat<2>([&]<int h>() {
                Vector low[T][V][BITS], high[T][V][BITS];
                repeat<4>([&]<int i>() {
                    Vector codes[V][BITS];
                    repeat<V * BITS>([&]<int j>() {
                        const std::uint8_t* line = w + j / BITS * step + ((4 * h + i) * BITS + j % BITS) * 32;
                        if constexpr (T == 1) __builtin_prefetch(line + 2048);
                        codes[j / BITS][j % BITS] = load(line);
                    });
                    repeat<2>([&]<int odd>() {
                        Vector patterns[V][BITS];
                        repeat<V * BITS>([&]<int j>() {
                            const Vector own = codes[j / BITS][j % BITS];
                            patterns[j / BITS][j % BITS] =
                                _mm256_and_si256(odd ? _mm256_srli_epi16(own, 4) : own, nibble);
                        });
                        repeat<T>([&]<int t>() {
                            const std::uint8_t* table =
                                tables + t * kRowTables + (pair * 16 + 8 * h + 2 * i + odd) * 32;
                            const Vector below = EXACT ? twice(table) : _mm256_setzero_si256();
                            const Vector above = twice(table + 16);
                            repeat<V * BITS>([&]<int j>() {
                                constexpr int v = j / BITS, p = j % BITS;
                                constexpr bool kFirst = i == 0 && odd == 0;
                                if constexpr (EXACT) {
                                    const Vector found = _mm256_shuffle_epi8(below, patterns[v][p]);
                                    low[t][v][p] = kFirst ? found : _mm256_add_epi8(low[t][v][p], found);
                                } else {
                                    low[t][v][p] = _mm256_set1_epi8(-128);
                                }
                                const Vector found = _mm256_shuffle_epi8(above, patterns[v][p]);
                                high[t][v][p] = kFirst ? found : _mm256_add_epi8(high[t][v][p], found);
                            });
                        });
                    });
                });
                repeat<T * V>([&]<int i>() {
                    constexpr int t = i / V, v = i % V;
                    const Vector start = _mm256_set1_epi16(static_cast<std::int16_t>(x[t * x_step + pair].start[h]));
                    half[h][t][v] = join_parts<BITS>(low[t][v], high[t][v], start);
                });
            });
            repeat<T * V>([&]<int i>() {
                constexpr int t = i / V, v = i % V;
                const Halves one = half[0][t][v], two = half[1][t][v];
                const Vector own = broadcast_pair(x[t * x_step + pair].scale);
                const Vector both[4] = {_mm256_unpacklo_epi16(one.a, two.a), _mm256_unpackhi_epi16(one.a, two.a),
                                        _mm256_unpacklo_epi16(one.b, two.b), _mm256_unpackhi_epi16(one.b, two.b)};
                repeat<4>([&]<int q>() {
                    const Vector scale = _mm256_mulhrs_epi16(load(w + v * step + 256 * BITS + 32 * q), own);
                    group[t][v][q] = _mm256_add_epi32(group[t][v][q], _mm256_madd_epi16(both[q], scale));
                });
            });
        }
        repeat<T * V * 4>([&]<int i>() {
            constexpr int t = i / 4 / V, v = i / 4 % V, q = i % 4;
            std::int32_t* to = out + t * stride + v * kPanel + q * 8;
            const Vector folded = _mm256_srai_epi32(group[t][v][q], 7);
            store(to, first && begin == 0 ? folded : _mm256_add_epi32(load(to), folded));
        });
    }
}

template <int BITS, bool EXACT>
void look_up_vectors(const Shape& s, const Rows& x, const std::uint8_t* w, std::int32_t* out, std::uint8_t* scratch) {
    constexpr int kHigh = BITS <= 2 ? 2 : 1, kWide = BITS == 1 ? 2 : 1;  // rows and panels that the registers hold
    const std::int64_t stride = s.panels(kPanel) * kPanel, panels = s.panels(kPanel);
    std::uint8_t* const tables = scratch;
    auto* const pairs = reinterpret_cast<PairOfRow*>(scratch + x.rows * kRowTables);
    const auto offset = static_cast<std::int32_t>(s.step() * ((1 << BITS) - 1) * 8 * kOffset);
    for (std::int64_t chunk = 0; chunk * kChunk < s.blocks; chunk++) {
        const std::int64_t count = chunk_pairs(s, chunk), blocks = smaller(kChunk, s.blocks - chunk * kChunk);
        for (std::int64_t m = 0; m < x.rows; m++) {
            for (std::int64_t g = 0; g < blocks * 8; g++)
                make_parts(x.block(m, chunk * kChunk) + 4 * g, tables + m * kRowTables + g * 32);
            for (std::int64_t p = 0; p < count; p++)
                pairs[m * kChunk / 2 + p] = pair_of(s, x, m, chunk * kChunk / 2 + p, offset);
        }
        for (std::int64_t panel = 0; panel < panels;) {
            const std::int64_t wide = panel + kWide <= panels ? kWide : 1;
            for (std::int64_t m = 0; m < x.rows;) {
                const auto run = [&]<int T, int V>() {
                    look_up_tile<BITS, T, V, EXACT>(w, count, tables + m * kRowTables, pairs + m * kChunk / 2,
                                                    kChunk / 2, chunk == 0, out + m * stride + panel * kPanel, stride);
                    m += T;
                };
                if (x.rows - m >= kHigh)
                    wide == kWide ? run.template operator()<kHigh, kWide>() : run.template operator()<kHigh, 1>();
                else
                    wide == kWide ? run.template operator()<1, kWide>() : run.template operator()<1, 1>();
            }
            panel += wide;
            w += wide * count * pair_bytes(BITS);
        }
    }
}

// How many of four bits are set, times 2^q.
inline Vector counts(int q, bool negative) {
    alignas(16) static constexpr std::int8_t kCounts[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    const Vector shifted = _mm256_sll_epi16(twice(kCounts), _mm_cvtsi32_si128(q));
    return negative ? _mm256_sub_epi8(_mm256_setzero_si256(), shifted) : shifted;
}

// Adds the sums of two blocks of eight outputs, which fit 16 bits, times their scales.
inline void add_scaled(Vector& group, Vector one, Vector two, const std::uint8_t* scales, const PairOfRow& own) {
    const Vector both = _mm256_blend_epi16(one, _mm256_slli_epi32(two, 16), 0xAA);
    const Vector scale = _mm256_mulhrs_epi16(load(scales), broadcast_pair(own.scale));
    group = _mm256_add_epi32(group, _mm256_madd_epi16(both, scale));
}

// A group of blocks of one row by two panels. rows: of a block's bit q the low nibbles of its bytes, then the high
// ones.
template <int BITS, int A>
void count_panels(const Shape& s, const std::uint8_t* w, const std::uint32_t* rows, const PairOfRow* x, std::int64_t m,
                  std::int64_t chunk, std::int32_t* out) {
    const Vector nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    const std::int64_t first = chunk * kGroup / 2, last = smaller(first + kGroup / 2, s.pairs());
    const std::int64_t step = s.pairs() * count_pair_bytes(BITS);
    constexpr int V = kTwo;
    Vector table[A];
    repeat<A>([&]<int q>() { table[q] = counts(q % 5, q == A - 1); });
    Vector group[V];
    repeat<V>([&]<int v>() { group[v] = broadcast(64); });
    for (std::int64_t pair = first; pair < last; pair++) {
        const PairOfRow& own = x[m * s.pairs() + pair];
        const std::uint8_t* const at = w + pair * count_pair_bytes(BITS);
        Vector sums[2][V];
        repeat<2>([&]<int h>() {
            const std::uint32_t* bits = rows + ((m * s.pairs() + pair) * 2 + h) * 2 * A;
            repeat<V>([&]<int v>() {
                Vector total = _mm256_setzero_si256();
                repeat<BITS>([&]<int p>() {
                    const Vector line = load(at + v * step + (h * BITS + p) * 32);
                    const Vector below = _mm256_and_si256(line, nibble);
                    const Vector above = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
                    Vector sum[2] = {};
                    repeat<A>([&]<int q>() {
                        const Vector one = _mm256_and_si256(below, broadcast(static_cast<std::int32_t>(bits[2 * q])));
                        const Vector two =
                            _mm256_and_si256(above, broadcast(static_cast<std::int32_t>(bits[2 * q + 1])));
                        sum[q / 5] = _mm256_add_epi8(sum[q / 5], _mm256_shuffle_epi8(table[q], one));
                        sum[q / 5] = _mm256_add_epi8(sum[q / 5], _mm256_shuffle_epi8(table[q], two));
                    });
                    // The part with the highest bit is signed.
                    Vector short_sums = A <= 5 ? _mm256_maddubs_epi16(_mm256_set1_epi8(1), sum[0])
                                               : _mm256_maddubs_epi16(sum[0], _mm256_set1_epi8(1));
                    if (A > 5)
                        short_sums = _mm256_add_epi16(short_sums, _mm256_maddubs_epi16(_mm256_set1_epi8(32), sum[1]));
                    total = _mm256_add_epi16(total, _mm256_slli_epi16(short_sums, BITS == 1 ? 1 : p));
                });
                sums[h][v] = _mm256_add_epi32(broadcast(own.start[h]), _mm256_madd_epi16(total, ones));
            });
        });
        repeat<V>([&]<int v>() { add_scaled(group[v], sums[0][v], sums[1][v], at + v * step + 64 * BITS, own); });
    }
    repeat<V>([&]<int v>() {
        const Vector folded = _mm256_srai_epi32(group[v], 7);
        store(out + v * kWords, chunk == 0 ? folded : _mm256_add_epi32(load(out + v * kWords), folded));
    });
}

template <int BITS, int A>
void count_vectors(const Shape& s, const Rows& x, const std::uint8_t* w, std::int32_t* out, std::uint8_t* scratch) {
    const std::int64_t panels = count_panels_of(s), stride = panels * kWords;
    auto* const rows = reinterpret_cast<std::uint32_t*>(scratch);
    auto* const pairs = reinterpret_cast<PairOfRow*>(rows + x.rows * s.pairs() * 4 * A);
    for (std::int64_t m = 0; m < x.rows; m++) {
        for (std::int64_t p = 0; p < s.pairs(); p++) pairs[m * s.pairs() + p] = pair_of(s, x, m, p, 0);
        for (std::int64_t b = 0; b < s.blocks; b++) {
            const Vector codes = load(x.block(m, b));
            repeat<A>([&]<int q>() {
                const auto bits = static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(codes, 7 - q)));
                std::uint32_t* const to = rows + (m * s.pairs() * 2 + b) * 2 * A + 2 * q;
                to[0] = bits & 0x0F0F0F0F;
                to[1] = bits >> 4 & 0x0F0F0F0F;
            });
        }
    }
    for (std::int64_t panel = 0; panel < panels; panel += kTwo, w += kTwo * s.pairs() * count_pair_bytes(BITS))
        for (std::int64_t chunk = 0; chunk * kGroup < s.blocks; chunk++)
            for (std::int64_t m = 0; m < x.rows; m++)
                count_panels<BITS, A>(s, w, rows, pairs, m, chunk, out + m * stride + panel * kWords);
}

// Bit FROM of every byte, as its bit TO.
template <int FROM, int TO> inline Vector move_bit(Vector x) {
    const Vector moved =
        FROM > TO ? _mm256_srli_epi16(x, larger(FROM - TO, 0)) : _mm256_slli_epi16(x, larger(TO - FROM, 0));
    return _mm256_and_si256(moved, _mm256_set1_epi8(1 << TO));
}

// Codes of group G of a block, times the step.
template <int BITS, int G> inline Vector codes_of(const Vector* lines) {
    if constexpr (BITS == 1) {
        return move_bit<G, 1>(lines[0]);
    } else {
        constexpr int kFields = BITS == 3 ? 2 : BITS, kEach = 8 / kFields;
        const Vector shifted = _mm256_srli_epi16(lines[G / kEach], G % kEach * kFields);
        const Vector low = _mm256_and_si256(shifted, _mm256_set1_epi8((1 << kFields) - 1));
        if constexpr (BITS == 3) return _mm256_or_si256(low, move_bit<G, 2>(lines[2]));
        return low;
    }
}

// Multiplies codes as the engine does, but from the panels above, row after row.
template <int BITS>
void multiply_vectors(const Shape& s, const Rows& x, const std::uint8_t* w, std::int32_t* out, std::uint8_t* scratch) {
    const std::int64_t panels = count_panels_of(s), stride = panels * kWords, step = s.pairs() * count_pair_bytes(BITS);
    const Vector ones = _mm256_set1_epi16(1);
    auto* const own = reinterpret_cast<PairOfRow*>(scratch);
    for (std::int64_t m = 0; m < x.rows; m++)
        for (std::int64_t p = 0; p < s.pairs(); p++) own[m * s.pairs() + p] = pair_of(s, x, m, p, 0);
    for (std::int64_t panel = 0; panel < panels; panel += kTwo, w += kTwo * step)
        for (std::int64_t m = 0; m < x.rows; m++) {
            Vector total[kTwo] = {};
            for (std::int64_t first = 0; first < s.pairs(); first += kGroup / 2) {
                Vector group[kTwo] = {broadcast(64), broadcast(64)};
                for (std::int64_t pair = first; pair < smaller(first + kGroup / 2, s.pairs()); pair++) {
                    const std::uint8_t* const at = w + pair * count_pair_bytes(BITS);
                    const PairOfRow& of = own[m * s.pairs() + pair];
                    Vector sums[2][kTwo];
                    repeat<2>([&]<int h>() {
                        const std::int8_t* const codes = x.block(m, smaller(2 * pair + h, s.blocks - 1));
                        Vector lines[kTwo][BITS], halves[kTwo];
                        repeat<kTwo * BITS>([&]<int i>() {
                            const std::uint8_t* line = at + i / BITS * step + (h * BITS + i % BITS) * 32;
                            __builtin_prefetch(line + 2048);
                            lines[i / BITS][i % BITS] = load(line);
                        });
                        repeat<8>([&]<int g>() {
                            std::int32_t four;
                            std::memcpy(&four, codes + 4 * g, 4);
                            repeat<kTwo>([&]<int v>() {
                                const Vector products =
                                    _mm256_maddubs_epi16(codes_of<BITS, g>(lines[v]), broadcast(four));
                                halves[v] = g == 0 ? products : _mm256_add_epi16(halves[v], products);
                            });
                        });
                        repeat<kTwo>([&]<int v>() {
                            sums[h][v] = _mm256_add_epi32(broadcast(of.start[h]), _mm256_madd_epi16(halves[v], ones));
                        });
                    });
                    repeat<kTwo>(
                        [&]<int v>() { add_scaled(group[v], sums[0][v], sums[1][v], at + v * step + 64 * BITS, of); });
                }
                repeat<kTwo>([&]<int v>() { total[v] = _mm256_add_epi32(total[v], _mm256_srai_epi32(group[v], 7)); });
            }
            repeat<kTwo>([&]<int v>() { store(out + m * stride + (panel + v) * kWords, total[v]); });
        }
}

#else
#    define LOOKUP_VECTORS 0
#endif

template <class F> bool by_number(int number, F f) {
    bool found = false;
    repeat<8>([&]<int i>() {
        if (number == i + 1) f.template operator()<i + 1>(), found = true;
    });
    return found;
}

}  // namespace

extern "C" {

// Whether vectors were compiled.
int has_vectors() { return LOOKUP_VECTORS; }

// form, here and below: 0 looks up, 1 counts, 2 multiplies, 3 looks up inexactly.
std::int64_t weight_bytes(int form, int bits, std::int64_t outputs, std::int64_t blocks) {
    const Shape s{bits, 0, outputs, blocks};
    return form == 1 || form == 2 ? count_bytes(s) : look_up_bytes(s);
}

// Codes [outputs][blocks * 32] and scales [outputs][blocks] as vectors read them.
void pack_weight(int form, int bits, std::int64_t outputs, std::int64_t blocks, const std::uint8_t* codes,
                 const std::int16_t* scales, std::uint8_t* to) {
    const Shape s{bits, 0, outputs, blocks};
    const auto pack = form == 1 ? pack_count : form == 2 ? pack_multiply : pack_look_up;
    pack(s, codes, scales, to);
}

// Bytes of scratch for so many rows, of either product.
std::int64_t scratch_bytes(std::int64_t rows, std::int64_t blocks) {
    const auto pair = static_cast<std::int64_t>(sizeof(PairOfRow));
    return rows * larger(kRowTables + kChunk / 2 * pair, (blocks + 1) / 2 * (4 * 8 * 4 + pair));
}

// By the scalar forms, into [rows][outputs]. form: 0 looks up, 1 counts, 2 counts in the bipolar form.
void product_scalar(int form, int bits, int zero, std::int64_t outputs, std::int64_t blocks, std::int64_t rows,
                    int activation_bits, const std::uint8_t* codes, const std::int16_t* scales, const std::int8_t* x,
                    const std::int16_t* x_scales, std::int32_t* out) {
    const Shape s{bits, zero, outputs, blocks};
    const Rows r{rows, blocks, x, x_scales};
    if (form == 0) return look_up_scalar(s, r, codes, scales, out);
    if (form == 1) return count_scalar(s, r, activation_bits, codes, scales, out);
    count_bipolar(s, r, activation_bits, codes, scales, out);
}

// By vectors, `times` over, into [rows][outputs in whole panels].
// Returns whether there is such a form.
int product_vectors(int form, int bits, int zero, std::int64_t outputs, std::int64_t blocks, std::int64_t rows,
                    int activation_bits, const std::uint8_t* w, const std::int8_t* x, const std::int16_t* x_scales,
                    std::int32_t* out, std::uint8_t* scratch, int times) {
#if LOOKUP_VECTORS
    const Shape s{bits, zero, outputs, blocks};
    const Rows r{rows, blocks, x, x_scales};
    bool found = false;
    for (int i = 0; i < times; i++)
        found = by_number(bits, [&]<int BITS>() {
            if constexpr (BITS <= 4) {
                if (form == 0) look_up_vectors<BITS, true>(s, r, w, out, scratch);
                if (form == 2) multiply_vectors<BITS>(s, r, w, out, scratch);
                if (form == 3) look_up_vectors<BITS, false>(s, r, w, out, scratch);
                if (form == 1)
                    by_number(static_cast<int>(std::bit_ceil(static_cast<unsigned>(activation_bits))), [&]<int A>() {
                        if constexpr (std::has_single_bit(static_cast<unsigned>(A)))
                            count_vectors<BITS, A>(s, r, w, out, scratch);
                    });
            }
        });
    return found;
#else
    return 0;
#endif
}

}  // extern "C"
