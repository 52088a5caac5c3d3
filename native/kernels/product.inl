// Parts of every matrix product (docs/spec/numerics.md, section 4): unpacking codes, packing rows, finishing sums.

// Prefetch distances, in bytes ahead of the current read, for a weight's lines: `far` into the second-level cache,
// `near` into the first. A single row, which just waits for these lines, uses a shorter far distance, because the
// hardware prefetcher must find the stream again. Where the hardware follows a stream by itself (kFollows), far
// prefetches cover only the first lines of each page: a prefetch instruction occupies one of the sixteen first-level
// miss buffers until memory answers, and a hardware prefetch does not.
struct FetchPlan {
    std::int64_t near, far;
    std::uintptr_t page;  // its size less one; 0: all lines

    // For a stream with one line for every eight lines of codes.
    INTACT_INLINE FetchPlan slower() const { return {near / 8, far / 8, 0}; }
};
template <int T> INTACT_INLINE inline FetchPlan fetch_plan() {
    if (T == 1) return {2048, 4096, 0};
    if (kFollows) return {3072, 4096, 4095};
    return {2048, 16384, 0};
}

// A plan applied at a position of a stream. at: bytes already read, of `length`; after these, the stream continues
// `gap` bytes further on.
struct FetchAhead {
    INTACT_INLINE explicit FetchAhead(const FetchPlan& plan, const void* stream = nullptr, std::int64_t at = 0,
                                      std::int64_t length = INT64_MAX, std::int64_t gap = 0)
        : near(plan.near + (at + plan.near >= length ? gap : 0)),
          far(plan.far + (at + plan.far >= length ? gap : 0)),
          begins(((reinterpret_cast<std::uintptr_t>(stream) + static_cast<std::uintptr_t>(far)) & plan.page) < 512) {}
    INTACT_INLINE void operator()(const void* line) const {
        if (begins) prefetch<2>(static_cast<const char*>(line) + far);
        prefetch(static_cast<const char*>(line) + near);
    }

    std::int64_t near, far;
    bool begins;  // whether what is far ahead begins a page
};

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
            return insert_pairs<G % 4>(low, load(block + 256 + 64 * (G / 4)));
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

// Activations in the order in which a tile of T rows reads them, one pair of blocks after the other: for each row the
// codes of both blocks, the initial values of their sums, their scales, and the sums of their codes.
template <int BLOCK> struct PackedPair {
    std::int8_t codes[2 * BLOCK];
    std::int32_t start[2];  // -zero * sum of the codes, plus half of the rounded shift; kJoined: the first biased
    std::int16_t scale[2];
    std::int16_t sum[2];  // for the minima
};

inline Lanes broadcast_halves(const std::int16_t* pair) {
    std::int32_t both;
    __builtin_memcpy(&both, pair, 4);
    return broadcast(both);
}

// Number of bits by which a group of minima is folded: 128 groups of 8 blocks fill 32 bits, and blocks of 16 make twice
// as many groups.
template <int BLOCK> constexpr int kMinimaFold = BLOCK == 32 ? 7 : 8;

// Adds a group of minima, at most four pairs, to the sums of T rows. sums(t, p): the code sums of row t, pair p.
template <int BLOCK, int T, class F>
INTACT_INLINE inline void add_minima(const FetchPlan& plan, const std::int16_t* minima, std::int64_t pairs,
                                     std::int32_t* out, F sums) {
    const FetchAhead fetch(plan.slower());
    Lanes group[T];
    INTACT_UNROLLED(t, T) group[t] = broadcast(1 << (kMinimaFold<BLOCK> - 1));
    for (std::int64_t p = 0; p < pairs; p++) {
        const Lanes m = load(minima + p * 32);
        fetch(minima + p * 32);
        INTACT_UNROLLED(t, T) group[t] = dot_pairs(group[t], m, broadcast_halves(sums(t, p)));
    }
    INTACT_UNROLLED(t, T) store(out + t * 16, add(load(out + t * 16), shift_right<kMinimaFold<BLOCK>>(group[t])));
}

// The shift of codes without a table.
template <int BITS> constexpr int kShift = BITS == 8 ? 4 : BITS == 6 ? 2 : BITS == 5 ? 1 : 0;
#ifndef INTACT_MORE_AVX512
// Never called where kJoinsHalves is false, but the compiler needs the declarations.
inline Lanes join_halves(Lanes a, Lanes b) { return add(shift_left<16>(a), shift_unsigned<16>(b)); }
inline Lanes flip_low_signs(Lanes x) { return x; }
#endif
// If true, the sums of a pair of blocks share a lane, with the second block's in the upper half.
constexpr bool joins(bool table, int shift) { return kJoinsHalves && !table && shift == 0; }
template <int BITS, bool TABLE> constexpr bool kJoined = joins(TABLE, kShift<BITS>);
constexpr std::uint32_t kJoinedBias = 1 << 15;

// Unpacks blocks first..last - 1 of a panel to one byte per code, in the layout of 8 bits. as: transforms 64 codes;
// fetch: called for each line that is read.
template <int BITS, bool TABLE, class F, class G>
INTACT_INLINE inline void unpack_blocks(const Matrix& w, std::int64_t panel, std::int64_t first, std::int64_t last,
                                        std::uint8_t* to, F as, G fetch) {
    constexpr int kBytes = BITS * 64;
    const std::uint8_t* block = w.codes + (panel * w.blocks + first) * kBytes;
    Lanes table{};
    if constexpr (TABLE) table = load_table(w.table);
    for (std::int64_t b = first; b < last; b++, block += kBytes, to += 512) {
        for (int line = 0; line < BITS; line++) fetch(block + 64 * line);
        repeat<8>([&]<int g>() INTACT_INLINE {
            const Lanes codes = unpack<BITS, g>(block);
            store(to + 64 * g, as(TABLE ? look_up(table, codes) : codes));
        });
    }
}

// Multiplies sums of outputs with exponents in low..high by 2^(left + exponent), rounded. Unless a lane needs more than
// 29 bits, the shift is a per-lane left shift followed by a common right shift.
struct Rescale {
    Rescale() = default;
    Rescale(std::int32_t left_, std::int32_t low, std::int32_t high)
        : left(left_),
          right(larger(0, -(left_ + low))),
          plain(right <= 29 && right + left_ + high <= 29),
          up(left + right + 2),
          down(right + 1) {}

    // A panel in 32 bits, with two to spare, so that two results can be added; requires `plain`. Sets bits of `lost`
    // for results that do not fit.
    INTACT_INLINE Lanes quick(Lanes x, Lanes exponents, Lanes& lost) const {
        const Lanes shift = add(exponents, broadcast(up)), high = shift_left_each(x, shift);
        lost = bit_or(lost, subtract(signed_right_each(high, shift), x));
        // x / 2^s rounded half up is floor((floor(x / 2^(s-1)) + 1) / 2).
        return shift_right<1>(add(shift_right(high, down), broadcast(1)));
    }

    Wide operator()(const std::int32_t* sums, const std::int32_t* exponents) const {
        const Wide x = load_wide(sums), shift = load_wide(exponents) + left;
        if (plain) return round_shift(x << (shift + right), std::int64_t{right});
        return shift_small(x, -shift);
    }

    std::int32_t left, right;
    bool plain;
    std::int32_t up, down;
};

// The factors of a row's sums.
struct RowScale {
    RowScale() = default;
    RowScale(const Matrix& w, const Activations& a, const Output& out, std::int64_t row)
        : main(22 + w.shift + out.fraction + a.exponent[row], w.scale_exp_low, w.scale_exp_high) {
        const std::int32_t own = !w.has_min      ? 0
                                 : w.block == 16 ? a.minima16_exp[row] + kMinimaFold<16>
                                                 : a.minima32_exp[row] + kMinimaFold<32>;
        minima = Rescale(out.fraction + a.exponent[row] + own, w.minimum_exp_low, w.minimum_exp_high);
    }

    Rescale main, minima;
};

constexpr std::int64_t kLargest = std::int64_t{1} << 50;  // a wide result before its bias

// Writes one row's results for a panel: adds the bias, then saturates or accumulates.
struct Place {
    INTACT_INLINE void put(std::int64_t i, Wide x, auto count) const {
        if (out.bias) x += load_wide(out.bias + n0 + i, count);
        if (out.narrow) {
            store_wide(out.narrow + at + i, saturate(x), count);
        } else {
            std::int64_t* to = out.wide + at + i;
            store_wide(to, out.accumulate ? load_wide(to, count) + x : x, count);
        }
    }
    const Output& out;
    std::int64_t n0, count, at;  // outputs, and where the first goes
};

// Sums of any magnitude, in 64 bits.
__attribute__((noinline)) void finish_any(const Matrix& w, const RowScale& scale, const Place& place,
                                          const std::int32_t* main, const std::int32_t* minima) {
    by_wide(place.count, [&](std::int64_t i, auto count) INTACT_INLINE {
        Wide sum = scale.main(main + i, w.scale_exp + place.n0 + i);
        if (w.has_min) sum += scale.minima(minima + i, w.minimum_exp + place.n0 + i);
        if (!place.out.narrow) sum = smaller(larger(sum, all<Wide>(-kLargest)), all<Wide>(kLargest));
        place.put(i, sum, count);
    });
}

// Finishes a tile whose outputs all exist. Returns false, without visible effect, if a result does not fit in 32 bits.
template <int T, int P>
INTACT_INLINE inline bool finish_plain(const Matrix& w, const RowScale* scale, std::int64_t at, std::int64_t panel,
                                       const Output& out, const std::int32_t* main, const std::int32_t* minima) {
    bool plain = (panel + P) * 16 <= w.rows;
    for (int t = 0; t < T; t++) plain = plain && scale[t].main.plain && (!w.has_min || scale[t].minima.plain);
    if (!plain) return false;
    // Local copies: the compiler would assume that stores change members.
    const bool direct = out.narrow && !out.bias, has_min = w.has_min;
    alignas(64) std::int32_t results[P * T * 16];
    std::int32_t* const to = direct ? out.narrow + at : results;
    const std::int64_t row_step = direct ? out.stride : 16, panel_step = direct ? 16 : T * 16;
    Lanes lost = zero();
    INTACT_UNROLLED(q, P) {
        const Lanes exponents = load(w.scale_exp + (panel + q) * 16);
        const Lanes own = has_min ? load(w.minimum_exp + (panel + q) * 16) : zero();
        INTACT_UNROLLED(t, T) {
            const int i = (q * T + t) * 16;
            Lanes sum = scale[t].main.quick(load(main + i), exponents, lost);
            if (has_min) sum = add(sum, scale[t].minima.quick(load(minima + i), own, lost));
            store(to + t * row_step + q * panel_step, sum);
        }
    }
    if (!equal(lost, zero())) return false;
    if (direct) return true;
    for (int t = 0; t < T; t++)
        for (int q = 0; q < P; q++) {
            const Place place{out, (panel + q) * 16, 16, at + t * out.stride + q * 16};
            by_wide(16, [&](std::int64_t i, auto count)
                            INTACT_INLINE { place.put(i, load_wide(results + (q * T + t) * 16 + i), count); });
        }
    return true;
}

// Finishes the results of T rows, starting at `row`, and P panels.
template <int T, int P>
INTACT_INLINE inline void finish(const Matrix& w, const RowScale* scale, std::int64_t row, std::int64_t panel,
                                 const Output& out, const std::int32_t* main, const std::int32_t* minima) {
    const std::int64_t first = out.first + row * out.stride + panel * 16;
    if (finish_plain<T, P>(w, scale, first, panel, out, main, minima)) return;
    for (int q = 0; q < P; q++)
        for (int t = 0; t < T; t++) {
            const std::int64_t n0 = (panel + q) * 16;
            const Place place{out, n0, smaller<std::int64_t>(16, w.rows - n0), out.first + (row + t) * out.stride + n0};
            finish_any(w, scale[t], place, main + (q * T + t) * 16, minima + (q * T + t) * 16);
        }
}

// Splits a block of rows into the fewest tiles of nearly equal height, so that no row count is disproportionately slow.
struct Tiles {
    Tiles(std::int64_t rows_, std::int64_t most) : rows(rows_), count((rows_ + most - 1) / most) {}
    std::int64_t begin(std::int64_t i) const { return rows * i / count; }

    std::int64_t rows, count;
};

// A row's code sums, for the minima.
template <int BLOCK> const std::int16_t* minima_sums(const Activations& a, std::int64_t row) {
    return BLOCK == 16 ? a.minima16 + row * 2 * a.minima_stride : a.minima32 + row * a.minima_stride;
}

// The scales of a row's pair of blocks. The partner of an odd last block can have any scale: weights have scale 0
// there.
template <int BLOCK>
INTACT_INLINE inline void pack_scales(const Activations& a, std::int64_t row, std::int64_t pair, std::int16_t* to) {
    const std::int32_t* scale = a.scale + row * a.blocks;
    to[0] = static_cast<std::int16_t>(scale[BLOCK == 16 ? pair : 2 * pair]);
    to[1] = static_cast<std::int16_t>(scale[BLOCK == 16 ? pair : smaller(2 * pair + 1, a.blocks - 1)]);
}

template <int BLOCK>
void pack_row(const Matrix& w, const Activations& a, std::int64_t row, PackedPair<BLOCK>* to, std::int64_t step) {
    const std::int8_t* codes = a.codes + row * a.stride;
    const std::int32_t* sums = a.half_sums + row * a.blocks * 2;
    const std::int16_t* minima = minima_sums<BLOCK>(a, row);
    const std::int32_t half = (1 << w.shift) >> 1;
    const std::int32_t byte_zero = w.bits == 8 || w.has_table ? kByteZero : 0;  // that products take off
    const std::int32_t zero = w.zero - (w.table_high ? 257 : 1) * byte_zero;
    const bool joined = joins(w.has_table, w.shift);
    for (std::int64_t p = 0; p < w.pairs; p++, to += step) {
        if (w.has_min) __builtin_memcpy(to->sum, minima + 2 * p, 4);
        __builtin_memcpy(to->codes, codes + p * 2 * BLOCK, 2 * BLOCK);
        pack_scales<BLOCK>(a, row, p, to->scale);
        for (int i = 0; i < 2; i++) {
            const std::int64_t b = smaller(2 * p + i, w.blocks - 1);  // where blocks are of 32
            const std::int32_t sum = BLOCK == 16 ? sums[2 * p + i] : sums[2 * b] + sums[2 * b + 1];
            to->start[i] = half - zero * sum;
        }
        // In the form that join_halves reads, and biased, so that nothing is borrowed from the upper half.
        if (joined) to->start[0] = static_cast<std::int32_t>((to->start[0] + kJoinedBias) << 16);
    }
}

// Packs the rows of a block and the factors of their sums.
template <int BLOCK>
void pack(const Matrix& w, const Activations& a, std::int64_t first, const Tiles& tiles, const Output& out,
          RowScale* scale, PackedPair<BLOCK>* to) {
    for (std::int64_t i = 0; i < tiles.count; i++) {
        const std::int64_t begin = tiles.begin(i), height = tiles.begin(i + 1) - begin;
        for (std::int64_t t = 0; t < height; t++) {
            pack_row<BLOCK>(w, a, first + begin + t, to + begin * w.pairs + t, height);
            scale[begin + t] = RowScale(w, a, out, first + begin + t);
        }
    }
}

// If true, a matrix has a table that the product of its kind does not support: not of 16 entries, or with two-byte
// entries.
inline bool has_long_table(const Matrix& w) { return w.has_table && (w.table_high || (w.bits != 3 && w.bits != 4)); }
