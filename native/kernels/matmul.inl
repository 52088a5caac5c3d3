// The matrix product (docs/numerics.md, section 4): tiles of T rows by a panel of 16 outputs, eight blocks a group.

// Adds group I of a block to its sum. Where a tier has short products, SPAN of them are added in 16 bits first.
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

// A tile of T rows by P panels. streamed: x comes from the second-level cache. bytes: the unpacked panel, with BYTES.
template <int BITS, int BLOCK, bool TABLE, bool BYTES, int T, int P>
void tile(const Matrix& w, std::int64_t panel, [[maybe_unused]] const std::uint8_t* bytes, const PackedPair<BLOCK>* x,
          bool streamed, std::int32_t* out, std::int32_t* minima) {
    constexpr int kStored = BYTES ? 8 : BITS, kCodeBits = TABLE ? 8 : BITS;
    constexpr int kBytes = kStored * 64, kPairBytes = kBytes * BLOCK / 16;
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
        repeat<P * T>([&]<int t>() INTACT_INLINE { group[t] = broadcast(64); });
        for (std::int64_t p = first; p < last; p++, codes += kPairBytes, scales += 32, x += T) {
            // The panels lie one behind the other: at their end the next ones follow beyond the last.
            const FetchAhead fetch(plan, codes, p * kPairBytes, code_step, (P - 1) * code_step);
            const FetchAhead fetch_scales(slower, scales, p * 64, 2 * scale_step, (P - 1) * 2 * scale_step);
            Lanes low[P * T], acc[P * T], halves[P * T];
            if (streamed)
                for (int line = 0; line < T * static_cast<int>(sizeof(*x)) / 64; line++)
                    prefetch(reinterpret_cast<const char*>(x + 8 * T) + 64 * line);
            repeat<2>([&]<int turn>() INTACT_INLINE {
                constexpr int half = kJoin ? 1 - turn : turn;
                repeat<kGroups>([&]<int i>() INTACT_INLINE {
                    constexpr int g = half * kGroups + i;  // of the pair
                    Lanes part[P];
                    repeat<P>([&]<int q>() INTACT_INLINE {
                        const std::uint8_t* block = codes + q * code_step + g / 8 * kBytes;
                        part[q] = unpack<kStored, g % 8>(block);
                        if constexpr (TABLE && !BYTES) part[q] = look_up(table, part[q]);
                        if constexpr (!BYTES && g % 8 * BITS % 8 < BITS) fetch(block + g % 8 * BITS * 8);
                    });
                    repeat<T>([&]<int t>() INTACT_INLINE {
                        std::int32_t four;
                        __builtin_memcpy(&four, x[t].codes + g * 4, 4);
                        const Lanes y = broadcast(four), start = broadcast(x[t].start[half]);
                        repeat<P>([&]<int q>() INTACT_INLINE {
                            constexpr int to = q * T + t;
                            if constexpr (kJoin && half == 0 && i == 0)
                                acc[to] = dot_codes(join_halves(acc[to], start), part[q], y);
                            else
                                add_group<kCodeBits, kSpan, i>(acc[to], halves[to], start, part[q], y);
                        });
                    });
                });
                if constexpr (half == 0 && !kJoin)
                    repeat<P * T>([&]<int t>() INTACT_INLINE {
                        low[t] = TABLE ? shift_right(acc[t], w.shift) : shift_right<kShift<BITS>>(acc[t]);
                    });
            });
            repeat<P>([&]<int q>() INTACT_INLINE {
                const Lanes s = load(scales + q * scale_step);
                fetch_scales(scales + q * scale_step);
                repeat<T>([&]<int t>() INTACT_INLINE {
                    constexpr int i = q * T + t;
                    Lanes both;
                    if constexpr (kJoin) {
                        both = flip_low_signs(acc[i]);  // the bias
                    } else {
                        const Lanes high =
                            TABLE ? shift_left(acc[i], 16 - w.shift) : shift_left<16 - kShift<BITS>>(acc[i]);
                        both = blend_halves(low[i], high);
                    }
                    group[i] = dot_pairs(group[i], both, multiply_round15(s, broadcast_halves(x[t].scale)));
                });
            });
        }
        repeat<P * T>([&]<int t>() INTACT_INLINE {
            const Lanes folded = shift_right<7>(group[t]);
            store(out + t * 16, first == 0 ? folded : add(load(out + t * 16), folded));
        });
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

template <int BITS, int BLOCK, bool TABLE, bool BYTES, int T, int P>
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
    tile<BITS, BLOCK, TABLE, BYTES, T, P>(w, panel, bytes, x, streamed, main, minima);
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
    for (std::int64_t first = row0; first < row1; first += most) {
        const Tiles tiles(smaller(most, row1 - first), kMaxRows);
        if (!packed) pack(w, a, first, tiles, out, scale, x);
        for (std::int64_t panel = panel0; panel < panel1;) {
            const bool both = kMaxPanels > 1 && tiles.rows > 1 && panel + 1 < panel1;
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
                    const auto run = unpacked ? rows_by_panels<BITS, BLOCK, TABLE, kUnpacks, T + 1, 1>
                                     : both   ? rows_by_panels<BITS, BLOCK, TABLE, false, T + 1, kMaxPanels>
                                              : rows_by_panels<BITS, BLOCK, TABLE, false, T + 1, 1>;
                    run(w, scale + begin, first + begin, panel, bytes, x + begin * w.pairs, tiles.count > 2, out);
                });
            }
            panel += both ? kMaxPanels : 1;
        }
    }
}

void matmul(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
            std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed) {
    by_format(w, [&]<int BITS, int BLOCK, bool TABLE>() {
        matmul_of<BITS, BLOCK, TABLE>(w, a, row0, row1, panel0, panel1, out, scratch, packed);
    });
}
