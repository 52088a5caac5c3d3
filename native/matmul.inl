// The matrix product (docs/numerics.md, section 4): tiles of T rows by a panel of 16 outputs, eight blocks a group.

#define INTACT_INLINE __attribute__((always_inline))

template <class F, int... G> INTACT_INLINE inline void each(F f, std::integer_sequence<int, G...>) {
    (f.template operator()<G>(), ...);
}
template <int N, class F> INTACT_INLINE inline void repeat(F f) { each(f, std::make_integer_sequence<int, N>()); }

// Codes of group G (4 inputs of 16 outputs) of a block in the panel layout of weight.h.
template <int BITS, int G> INTACT_INLINE inline Lanes unpack(const std::uint8_t* block) {
    if constexpr (BITS == 8) {
        return load(block + 64 * G);
    } else if constexpr (BITS >= 4) {
        const Lanes line = load(block + 64 * (G / 2));
        const Lanes low = G % 2 ? high_nibbles(line) : low_nibbles(line);
        if constexpr (BITS == 5) {
            std::uint64_t mask;
            __builtin_memcpy(&mask, block + 256 + 8 * G, 8);
            return add_bits<4>(low, mask);
        } else if constexpr (BITS == 6) {
            return or_shifted<4>(low, bit_pairs<G % 4>(load(block + 256 + 64 * (G / 4))));
        } else {
            return low;
        }
    } else {
        const Lanes low = bit_pairs<G % 4>(load(block + 64 * (G / 4)));
        if constexpr (BITS == 3) {
            std::uint64_t mask;
            __builtin_memcpy(&mask, block + 128 + 8 * G, 8);
            return add_bits<2>(low, mask);
        } else {
            return low;
        }
    }
}

// Rows of activations as a tile sees them.
struct TileRows {
    const std::int8_t* codes;
    std::int64_t stride;
    const std::int32_t* scale;  // [t][blocks]; for blocks of 16 twice in a lane
    const std::int32_t* start;  // [t][blocks * 32 / BLOCK]: -zero * sum, plus half of the rounded shift
};

template <int BITS, int BLOCK, bool TABLE, int T>
void tile(const Matrix& w, std::int64_t panel, const TileRows& rows, std::int32_t* out) {
    constexpr int kShift = BITS == 8 ? 4 : BITS == 6 ? 2 : BITS == 5 ? 1 : 0;  // of untabled codes
    constexpr int kHalves = 32 / BLOCK, kBytes = BITS * 64;
    const std::int64_t blocks = w.blocks;
    const std::uint8_t* codes = w.codes + panel * blocks * kBytes;
    const std::int16_t* scales = w.scales + panel * blocks * 16 * kHalves;
    Lanes table{};
    if constexpr (TABLE) table = load_table(w.table);
    Lanes total[T];
    for (int t = 0; t < T; t++) total[t] = zero();
    for (std::int64_t first = 0; first < blocks; first += 8) {
        Lanes group[T];
        for (int t = 0; t < T; t++) group[t] = zero();
        for (std::int64_t b = first; b < smaller<std::int64_t>(first + 8, blocks); b++) {
            Lanes acc[kHalves][T];
            for (int h = 0; h < kHalves; h++)
                for (int t = 0; t < T; t++) acc[h][t] = broadcast(rows.start[(t * blocks + b) * kHalves + h]);
            repeat<8>([&]<int G>() INTACT_INLINE {
                Lanes part = unpack<BITS, G>(codes + b * kBytes);
                if constexpr (TABLE) part = look_up(table, part);
                // One row is bound by memory: about 4 KB ahead keeps it busy, also across panels.
                if constexpr (T == 1 && G * BITS / 8 != (G - 1) * BITS / 8)
                    prefetch(codes + b * kBytes + G * BITS * 8 + 4096);
                for (int t = 0; t < T; t++) {
                    std::int32_t four;
                    __builtin_memcpy(&four, rows.codes + t * rows.stride + b * 32 + G * 4, 4);
                    const Lanes x = broadcast(four);
                    Lanes& a = acc[G * 4 / BLOCK][t];
                    a = (BITS == 8 || TABLE) ? dot_bytes(a, part, x) : dot_codes(a, part, x);
                }
            });
            const std::int16_t* line = scales + b * 16 * kHalves;
            const Lanes s = BLOCK == 32 ? widen_unsigned16(line) : load(line);
            for (int t = 0; t < T; t++) {
                Lanes h[kHalves];
                for (int i = 0; i < kHalves; i++) {
                    h[i] = acc[i][t];
                    if constexpr (TABLE)
                        h[i] = shift_right(h[i], w.shift);
                    else if constexpr (kShift > 0)
                        h[i] = shift_right<kShift>(h[i]);
                }
                if constexpr (BLOCK == 16) h[0] = blend_halves(h[0], shift_left<16>(h[1]));
                const Lanes c = multiply_round15(s, broadcast(rows.scale[t * blocks + b]));
                group[t] = dot_pairs(group[t], h[0], c);
            }
        }
        for (int t = 0; t < T; t++) total[t] = add(total[t], shift_right<7>(add(group[t], broadcast(64))));
    }
    for (int t = 0; t < T; t++) store(out + t * 16, total[t]);
}

// Bits that a group of minima is folded by: 128 groups of 8 blocks fill 32 bits, and blocks of 16 make twice as many.
template <int BLOCK> constexpr int kMinimaFold = BLOCK == 32 ? 7 : 8;

// The minima's own sum: block sums (pairs of int16) times minima, four pairs a group.
template <int FOLD, int T>
void minima_tile(const Matrix& w, std::int64_t panel, const std::int16_t* sums, std::int64_t stride,
                 std::int32_t* out) {
    const std::int16_t* minima = w.minima + panel * w.minimum_pairs * 32;
    Lanes total[T];
    for (int t = 0; t < T; t++) total[t] = zero();
    for (std::int64_t first = 0; first < w.minimum_pairs; first += 4) {
        Lanes group[T];
        for (int t = 0; t < T; t++) group[t] = zero();
        for (std::int64_t p = first; p < smaller<std::int64_t>(first + 4, w.minimum_pairs); p++) {
            const Lanes m = load(minima + p * 32);
            for (int t = 0; t < T; t++) {
                std::int32_t pair;
                __builtin_memcpy(&pair, sums + t * stride + 2 * p, 4);
                group[t] = dot_pairs(group[t], m, broadcast(pair));
            }
        }
        for (int t = 0; t < T; t++)
            total[t] = add(total[t], shift_right<FOLD>(add(group[t], broadcast(1 << (FOLD - 1)))));
    }
    for (int t = 0; t < T; t++) store(out + t * 16, total[t]);
}

// Sums of outputs whose exponents lie in low..high, times 2^(left + exponent), rounded. The shift is taken as one to
// the left that differs from lane to lane, then one to the right that does not, wherever no lane needs more than 31
// bits.
struct Rescale {
    Rescale(std::int64_t left_, std::int32_t low, std::int32_t high)
        : left(left_),
          right(larger<std::int64_t>(0, -(left_ + low))),
          plain(right <= 30 && right + left_ + high <= 31) {}

    Wide operator()(const std::int32_t* sums, const std::int32_t* exponents) const {
        const Wide x = load_wide(sums), shift = load_wide(exponents) + left;
        if (plain) return round_shift(x << (shift + right), right);
        return shift_small(x, -shift);
    }

    std::int64_t left, right;
    bool plain;
};

constexpr std::int64_t kLargest = std::int64_t{1} << 50;  // a wide result before its bias

// Sums to results: rescaled, biased, saturated or added.
inline void finish(const Matrix& w, const Activations& a, std::int64_t row, std::int64_t n0, std::int64_t n1,
                   const std::int32_t* main, const std::int32_t* minima, const Output& out) {
    const std::int64_t own = !minima         ? 0
                             : w.block == 16 ? a.minima16_exp[row] + kMinimaFold<16>
                                             : a.minima32_exp[row] + kMinimaFold<32>;
    const Rescale of_main(22 + w.shift + out.fraction + a.exponent[row], w.scale_exp_low, w.scale_exp_high);
    const Rescale of_minima(out.fraction + a.exponent[row] + own, w.minimum_exp_low, w.minimum_exp_high);
    by_wide(n1 - n0, [&](std::int64_t i, auto count) INTACT_INLINE {
        Wide x = of_main(main + i, w.scale_exp + n0 + i);
        if (minima) x += of_minima(minima + i, w.minimum_exp + n0 + i);
        if (!out.narrow) x = smaller(larger(x, all<Wide>(-kLargest)), all<Wide>(kLargest));
        if (out.bias) x += load_wide(out.bias + n0 + i, count);
        if (out.narrow) {
            store_wide(out.narrow + row * out.stride + n0 + i, saturate(x), count);
        } else {
            std::int64_t* to = out.wide + row * out.stride + n0 + i;
            store_wide(to, out.accumulate ? load_wide(to, count) + x : x, count);
        }
    });
}

template <int BITS, int BLOCK, bool TABLE, int T>
void rows_by_panel(const Matrix& w, const Activations& a, std::int64_t row, std::int64_t panel, const TileRows& rows,
                   const Output& out) {
    alignas(64) std::int32_t main[T * 16], minima[T * 16];
    tile<BITS, BLOCK, TABLE, T>(w, panel, rows, main);
    if (w.has_min) {
        const std::int64_t stride = BLOCK == 16 ? 2 * a.minima_stride : a.minima_stride;
        minima_tile<kMinimaFold<BLOCK>, T>(w, panel, (BLOCK == 16 ? a.minima16 : a.minima32) + row * stride, stride,
                                           minima);
    }
    const std::int64_t n0 = panel * 16, n1 = smaller(n0 + 16, w.rows);
    for (int t = 0; t < T; t++)
        finish(w, a, row + t, n0, n1, main + t * 16, w.has_min ? minima + t * 16 : nullptr, out);
}

// Splits a block of rows into the fewest tiles of nearly equal height, so that no count of rows falls off a cliff.
template <int BITS, int BLOCK, bool TABLE>
void panel_of_rows(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel,
                   const TileRows& block, const Output& out) {
    constexpr std::int64_t kHalves = 32 / BLOCK;
    const std::int64_t count = row1 - row0, tiles = (count + kMaxRows - 1) / kMaxRows;
    for (std::int64_t i = 0; i < tiles; i++) {
        const std::int64_t begin = count * i / tiles, height = count * (i + 1) / tiles - begin;
        const TileRows rows{block.codes + begin * block.stride, block.stride, block.scale + begin * w.blocks,
                            block.start + begin * w.blocks * kHalves};
        repeat<kMaxRows>([&]<int T>() {
            if (height == T + 1) rows_by_panel<BITS, BLOCK, TABLE, T + 1>(w, a, row0 + begin, panel, rows, out);
        });
    }
}

template <int BITS, int BLOCK, bool TABLE>
void matmul_of(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
               std::int64_t panel1, const Output& out, std::int32_t* scratch) {
    constexpr std::int64_t kHalves = 32 / BLOCK;
    const std::int32_t half = (1 << w.shift) >> 1;
    for (std::int64_t first = row0; first < row1; first += kRowBlock) {
        const std::int64_t last = smaller(first + kRowBlock, row1);
        std::int32_t* start = scratch;
        std::int32_t* doubled = scratch + kRowBlock * w.blocks * 2;
        for (std::int64_t m = first; m < last; m++) {
            const std::int32_t* sums = a.half_sums + m * w.blocks * 2;
            std::int32_t* to = start + (m - first) * w.blocks * kHalves;
            if constexpr (BLOCK == 16) {
                for (std::int64_t b = 0; b < 2 * w.blocks; b++) to[b] = half - w.zero * sums[b];
                for (std::int64_t b = 0; b < w.blocks; b++)
                    doubled[(m - first) * w.blocks + b] = a.scale[m * w.blocks + b] * 0x10001;
            } else {
                for (std::int64_t b = 0; b < w.blocks; b++) to[b] = half - w.zero * (sums[2 * b] + sums[2 * b + 1]);
            }
        }
        const TileRows rows{a.codes + first * a.stride, a.stride, BLOCK == 16 ? doubled : a.scale + first * w.blocks,
                            start};
        for (std::int64_t panel = panel0; panel < panel1; panel++)
            panel_of_rows<BITS, BLOCK, TABLE>(w, a, first, last, panel, rows, out);
    }
}

void matmul(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
            std::int64_t panel1, const Output& out, std::int32_t* scratch) {
    const auto run = w.has_table     ? matmul_of<4, 32, true>
                     : w.bits == 8   ? matmul_of<8, 32, false>
                     : w.bits == 6   ? matmul_of<6, 16, false>
                     : w.bits == 5   ? matmul_of<5, 32, false>
                     : w.bits == 4   ? matmul_of<4, 32, false>
                     : w.bits == 3   ? matmul_of<3, 16, false>
                     : w.block == 32 ? matmul_of<2, 32, false>
                                     : matmul_of<2, 16, false>;
    run(w, a, row0, row1, panel0, panel1, out, scratch);
}
