// The matrix product (docs/spec/numerics.md, section 4): tiles of T rows by a panel of 16 outputs, eight blocks per
// group.

// Adds group I of a block to its sum. On tiers with short products, SPAN of them are first added in 16 bits.
template <int BITS, int SPAN, int I, class L>
INTACT_INLINE inline void add_group(L& sum, [[maybe_unused]] L& halves, L start, L codes, L x) {
    if constexpr (SPAN == 1) {
        const L& from = I == 0 ? start : sum;
        sum = BITS == 8 ? dot_bytes(from, codes, x) : dot_codes(from, codes, x);
    } else {
        const L products = short_products(codes, x);
        halves = I % SPAN == 0 ? products : add_short(halves, products);
        if constexpr (I % SPAN == SPAN - 1) sum = add_pairs(I < SPAN ? start : sum, halves);
    }
}

// A tile of T rows by P panels. streamed: x comes from the second-level cache. bytes: with BYTES, the unpacked panel;
// with WIDE, the low bytes of each block followed by its high bytes.
template <int BITS, int BLOCK, bool TABLE, bool BYTES, bool WIDE, int T, int P>
void tile(const Matrix& w, std::int64_t panel, [[maybe_unused]] const std::uint8_t* bytes, const PackedPair<BLOCK>* x,
          bool streamed, std::int32_t* out, std::int32_t* minima) {
    constexpr int kStored = BYTES ? 8 : BITS, kCodeBits = TABLE ? 8 : BITS;
    constexpr int kBytes = kStored * (WIDE ? 128 : 64), kPairBytes = kBytes * BLOCK / 16;
    constexpr bool kJoin = kJoined<BITS, TABLE>;
    constexpr int kGroups = BLOCK / 4, kSpan = smaller(kShortProducts<kCodeBits>, kGroups);
    const FetchPlan plan = fetch_plan<T>();
    const bool factored = w.scales.plain == nullptr;
    alignas(64) std::int16_t products[P * kGroupPairs<BLOCK> * 32];  // of factors of scales, for a group
    const std::int64_t code_step = w.blocks * kBytes;                // from panel to panel
    const std::int64_t scale_step = factored ? kGroupPairs<BLOCK> * 32 : w.pairs * 32;
    const FetchPlan slower = factored ? FetchPlan{} : plan.slower();
    const std::uint8_t* codes = BYTES ? bytes : w.codes + panel * code_step;
    const std::int16_t* scales = factored ? products : w.scales.plain + panel * scale_step;
    Lanes table{};
    if constexpr (TABLE && !BYTES) table = load_table(w.table);
    if (w.has_min)
        for (int t = 0; t < P * T; t++) store(minima + t * 16, zero());
    for (std::int64_t first = 0; first < w.pairs; first += kGroupPairs<BLOCK>) {
        const std::int64_t last = smaller<std::int64_t>(first + kGroupPairs<BLOCK>, w.pairs);
        if (factored) [[unlikely]] {
            for (int q = 0; q < P; q++)
                multiply_factors(w.scales, w.pairs, panel + q, first, last - first, products + q * scale_step);
            scales = products;
        }
        Lanes group[P * T];
        INTACT_UNROLLED(t, P * T) group[t] = broadcast(64);
        for (std::int64_t p = first; p < last; p++, codes += kPairBytes, scales += 32, x += T) {
            // Panels are contiguous: at the end of these panels, the next ones follow the last.
            const FetchAhead fetch(plan, codes, p * kPairBytes, code_step, (P - 1) * code_step);
            const FetchAhead fetch_scales(slower, scales, p * 64, 2 * scale_step, (P - 1) * 2 * scale_step);
            Lanes low[P * T], acc[P * T], halves[P * T];
            if (streamed)
                for (int line = 0; line < T * static_cast<int>(sizeof(*x)) / 64; line++)
                    prefetch(reinterpret_cast<const char*>(x + 8 * T) + 64 * line);
            repeat<2>([&]<int turn>() INTACT_INLINE {
                constexpr int half = kJoin ? 1 - turn : turn;
                [[maybe_unused]] Lanes high[WIDE ? T : 1];
                if constexpr (WIDE) {
                    INTACT_UNROLLED(t, T) high[t] = zero();
                    repeat<kGroups>([&]<int i>() INTACT_INLINE {
                        constexpr int g = half * kGroups + i;
                        const Lanes part = load(codes + g / 8 * kBytes + 512 + g % 8 * 64);
                        INTACT_UNROLLED(t, T) {
                            std::int32_t four;
                            __builtin_memcpy(&four, x[t].codes + g * 4, 4);
                            high[t] = dot_bytes(high[t], part, broadcast(four));
                        }
                    });
                    INTACT_UNROLLED(t, T) high[t] = shift_left<8>(high[t]);
                }
                repeat<kGroups>([&]<int i>() INTACT_INLINE {
                    constexpr int g = half * kGroups + i;  // of the pair
                    Lanes part[P];
                    INTACT_UNROLLED(q, P) {
                        const std::uint8_t* block = codes + q * code_step + g / 8 * kBytes;
                        part[q] = unpack<kStored, g % 8>(block);
                        if constexpr (TABLE && !BYTES) part[q] = look_up(table, part[q]);
                        if constexpr (!BYTES && g % 8 * BITS % 8 < BITS) fetch(block + g % 8 * BITS * 8);
                    }
                    INTACT_UNROLLED(t, T) {
                        std::int32_t four;
                        __builtin_memcpy(&four, x[t].codes + g * 4, 4);
                        const Lanes y = broadcast(four);
                        Lanes start = broadcast(x[t].start[half]);
                        if constexpr (WIDE && i == 0) start = add(start, high[t]);
                        INTACT_UNROLLED(q, P) {
                            const int to = q * T + t;
                            if constexpr (kJoin && half == 0 && i == 0)
                                acc[to] = dot_codes(join_halves(acc[to], start), part[q], y);
                            else
                                add_group<kCodeBits, kSpan, i>(acc[to], halves[to], start, part[q], y);
                        }
                    }
                });
                if constexpr (half == 0 && !kJoin) INTACT_UNROLLED(t, P * T)
                low[t] = TABLE ? shift_right(acc[t], w.shift) : shift_right<kShift<BITS>>(acc[t]);
            });
            INTACT_UNROLLED(q, P) {
                const Lanes s = load(scales + q * scale_step);
                fetch_scales(scales + q * scale_step);
                INTACT_UNROLLED(t, T) {
                    const int i = q * T + t;
                    Lanes both;
                    if constexpr (kJoin) {
                        both = flip_low_signs(acc[i]);  // the bias
                    } else {
                        const Lanes high =
                            TABLE ? shift_left(acc[i], 16 - w.shift) : shift_left<16 - kShift<BITS>>(acc[i]);
                        both = blend_halves(low[i], high);
                    }
                    group[i] = dot_pairs(group[i], both, multiply_round15(s, broadcast_halves(x[t].scale)));
                }
            }
        }
        INTACT_UNROLLED(t, P * T) {
            const Lanes folded = shift_right<7>(group[t]);
            store(out + t * 16, first == 0 ? folded : add(load(out + t * 16), folded));
        }
        if (!w.has_min) continue;
        for (int q = 0; q < P; q++)
            for (std::int64_t p = first; p < last; p += 4) {
                const std::int64_t count = smaller<std::int64_t>(4, last - p);
                add_minima<BLOCK, T>(
                    plan, numbers_of(w.minima, w.pairs, panel + q, p, count, products), count, minima + q * T * 16,
                    [&](int t, std::int64_t k) INTACT_INLINE { return x[(p + k - last) * T + t].sum; });
            }
    }
}

template <int BITS, int BLOCK, bool TABLE, bool BYTES, bool WIDE, int T, int P>
void rows_by_panels(const Matrix& w, const RowScale* scale, std::int64_t row, std::int64_t panel,
                    const std::uint8_t* bytes, const PackedPair<BLOCK>* x, bool streamed, const Output& out) {
    alignas(64) std::int32_t main[P * T * 16], minima[P * T * 16];
    const std::int64_t first = out.first + row * out.stride + panel * 16;
    for (int q = 0; q < P; q++) {
        prefetch(w.scale_exp + (panel + P + q) * 16);
        if (w.has_min) prefetch(w.minimum_exp + (panel + P + q) * 16);
    }
    for (int t = 0; t < T; t++) {
        const std::int64_t at = first + t * out.stride;
        for (int q = 0; q < P; q++)
            if (out.narrow) {
                prefetch(out.narrow + at + q * 16);
            } else {
                prefetch(out.wide + at + q * 16);
                prefetch(out.wide + at + q * 16 + 8);
            }
    }
    tile<BITS, BLOCK, TABLE, BYTES, WIDE, T, P>(w, panel, bytes, x, streamed, main, minima);
    finish<T, P>(w, scale, row, panel, out, main, minima);
}

template <int BITS, int BLOCK, bool TABLE>
void matmul_of(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
               std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed) {
    static_assert(sizeof(RowScale) <= 4 * kRowScale);
    auto* scale = reinterpret_cast<RowScale*>(scratch);
    auto* x = reinterpret_cast<PackedPair<BLOCK>*>(scratch + kMostRows * kRowScale);
    const std::int64_t most = row_block(w.blocks, kRowBytes);
    auto* bytes = reinterpret_cast<std::uint8_t*>(x + most * w.pairs);
    constexpr bool kUnpacks = kUnpackTiles > 0 && (TABLE || BITS == 3 || BITS == 5 || BITS == 6);
    static_assert(!kUnpacks || kMaxPanels == 1);
    constexpr bool kBoth = kMaxPanels > 1 && INTACT_PRODUCTS != 3;  // rare kinds have tiles of one panel
    for (std::int64_t first = row0; first < row1; first += most) {
        const Tiles tiles(smaller(most, row1 - first), kMaxRows);
        if (!packed) pack(w, a, first, tiles, out, scale, x);
        for (std::int64_t panel = panel0; panel < panel1;) {
            const bool both = kBoth && tiles.rows > 1 && panel + 1 < panel1;
            const bool unpacked = kUnpacks && tiles.count >= kUnpackTiles;
            if constexpr (kUnpacks)
                if (unpacked)
                    unpack_blocks<BITS, TABLE>(
                        w, panel, 0, w.pairs * BLOCK / 16, bytes, [](Lanes x) { return x; },
                        [fetch = FetchAhead(fetch_plan<kMaxRows>())](const std::uint8_t* line) { fetch(line); });
            for (std::int64_t i = 0; i < tiles.count; i++) {
                const std::int64_t begin = tiles.begin(i), height = tiles.begin(i + 1) - begin;
                repeat<kMaxRows>([&]<int T>() {
                    if (height != T + 1) return;
                    constexpr int kPanels = kBoth && T > 0 ? kMaxPanels : 1;
                    const auto run = unpacked ? rows_by_panels<BITS, BLOCK, TABLE, kUnpacks, false, T + 1, 1>
                                     : both   ? rows_by_panels<BITS, BLOCK, TABLE, false, false, T + 1, kPanels>
                                              : rows_by_panels<BITS, BLOCK, TABLE, false, false, T + 1, 1>;
                    run(w, scale + begin, first + begin, panel, bytes, x + begin * w.pairs, tiles.count > 2, out);
                });
            }
            panel += both ? kMaxPanels : 1;
        }
    }
}

#if INTACT_PRODUCTS == 3
// Looks up a panel's codes in a long table: 512 low bytes per block and, with WIDE, 512 high bytes.
template <bool WIDE> void look_up_panel(const Matrix& w, std::int64_t panel, std::int64_t blocks, std::uint8_t* to) {
    const FetchAhead fetch(fetch_plan<1>());
    const auto of_bits = [&]<int BITS>() INTACT_INLINE {
        constexpr int kParts = BITS <= 4 ? 1 : 1 << (BITS - 4);
        const std::uint8_t* block = w.codes + panel * w.blocks * BITS * 64;
        for (std::int64_t b = 0; b < blocks; b++, block += BITS * 64, to += WIDE ? 1024 : 512) {
            for (int line = 0; line < BITS; line++) fetch(block + 64 * line);
            repeat<8>([&]<int g>() INTACT_INLINE {
                const Lanes codes = unpack<BITS, g>(block);
                store(to + 64 * g, look_up_long<kParts>(w.table, codes));
                if constexpr (WIDE) store(to + 512 + 64 * g, look_up_long<kParts>(w.table_high, codes));
            });
        }
    };
    if (w.bits == 2) return of_bits.template operator()<2>();
    if (w.bits == 3) return of_bits.template operator()<3>();
    if (w.bits == 4) return of_bits.template operator()<4>();
    if (w.bits == 5) return of_bits.template operator()<5>();
    if (w.bits == 6) return of_bits.template operator()<6>();
    of_bits.template operator()<8>();
}

// Products of entries that were looked up before: one function for one-byte tables of any number of bits, and one for
// two-byte entries, whose low and high bytes are multiplied one after the other.
template <int BLOCK, bool WIDE>
void matmul_of_entries(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
                       std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed) {
    auto* scale = reinterpret_cast<RowScale*>(scratch);
    auto* x = reinterpret_cast<PackedPair<BLOCK>*>(scratch + kMostRows * kRowScale);
    const std::int64_t most = row_block(w.blocks, kRowBytes);
    auto* bytes = reinterpret_cast<std::uint8_t*>(x + most * w.pairs);
    constexpr int kHeight = smaller(kMaxRows, 4);
    for (std::int64_t first = row0; first < row1; first += most) {
        const Tiles tiles(smaller(most, row1 - first), kHeight);
        if (!packed) pack(w, a, first, tiles, out, scale, x);
        for (std::int64_t panel = panel0; panel < panel1; panel++) {
            look_up_panel<WIDE>(w, panel, w.pairs * BLOCK / 16, bytes);
            for (std::int64_t i = 0; i < tiles.count; i++) {
                const std::int64_t begin = tiles.begin(i), height = tiles.begin(i + 1) - begin;
                repeat<kHeight>([&]<int T>() {
                    if (height == T + 1)
                        rows_by_panels<8, BLOCK, true, true, WIDE, T + 1, 1>(
                            w, scale + begin, first + begin, panel, bytes, x + begin * w.pairs, tiles.count > 2, out);
                });
            }
        }
    }
}
Matmul* matmul_of_long_table(const Matrix& w) {
    if (w.block == 32) return w.table_high ? matmul_of_entries<32, true> : matmul_of_entries<32, false>;
    return w.table_high ? matmul_of_entries<16, true> : matmul_of_entries<16, false>;
}
#endif

constexpr std::int64_t kOwnRowBytes = kRowBytes;
