// The matrix product (docs/spec/numerics.md, section 4) with AMX tiles: sixteen rows by a panel of 16 outputs, one
// block per tile. The products of one block for all rows and outputs are stored to memory, where vector code scales and
// adds them while the next tiles are computed.

constexpr std::int64_t kTileRows = 16;           // of a tile
constexpr std::int64_t kLeastRows = 9;           // of a product; below, vectors take less time
constexpr std::int64_t kTilePanels = 2;          // that rows meet while they are in the first-level cache
constexpr std::int64_t kTileRowBytes = 5 << 18;  // processors with AMX have 2 MiB of second-level cache a core

// Tiles 0 and 1 hold sums, 4 and 5 rows, 6 and 7 weights. The instructions are inline assembly because GCC 12's
// intrinsics do not declare what they read, so the compiler removes preceding stores as dead.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1, start = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
};
template <int BLOCK> void shape_tiles(std::int64_t height) {
    TileShapes shapes;
    const auto shape = [&](int first, int last, std::int64_t rows, int bytes) {
        for (int i = first; i <= last; i++) {
            shapes.rows[i] = static_cast<std::uint8_t>(rows);
            shapes.row_bytes[i] = static_cast<std::uint16_t>(bytes);
        }
    };
    shape(0, 1, height, 64), shape(4, 5, height, BLOCK), shape(6, 7, BLOCK / 4, 64);
    asm volatile("ldtilecfg %0" : : "m"(shapes));
}
inline void release_tiles() { asm volatile("tilerelease" : : : "memory"); }
template <int TILE> INTACT_INLINE inline void load_tile(const void* p, std::int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(TILE) : "memory");
}
template <int TILE> INTACT_INLINE inline void store_tile(void* p) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(std::int64_t{64}), "i"(TILE) : "memory");
}
template <int SUMS, int ROWS, int WEIGHTS> INTACT_INLINE inline void multiply_tiles() {
    asm volatile("tilezero %%tmm%c0\n\ttdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUMS), "i"(ROWS), "i"(WEIGHTS));
}

// The shift of the sums of a block's products; -1 if the matrix defines it.
template <int BITS, bool TABLE> constexpr int kTileShift = TABLE ? -1 : kShift<BITS>;

// A pair of blocks of a tile's rows: codes, one cache line after the other, then the scales.
template <int BLOCK> struct alignas(64) TileRows {
    std::int8_t codes[kTileRows][2 * BLOCK];
    std::int16_t scale[kTileRows][2];
};

// The scales for the products of a pair of blocks of a tile of rows and a panel, and the destination of their sums.
template <int BLOCK> struct TileStep {
    const TileRows<BLOCK>* x;
    const std::int16_t* scales;
    std::int32_t* out;  // [row][16]: sums of the groups before
    bool ends, first;   // a group of eight blocks; whether that is the panel's first
};

// The state of the steps in flight. It is separate from TileLine because its arrays would keep TileLine's sums out of
// registers.
template <int BLOCK> struct TileRoom {
    static constexpr TileRows<BLOCK> kNoRows{};
    static constexpr std::int16_t kNoScales[32]{};
    static constexpr TileStep<BLOCK> kNone{&kNoRows, kNoScales, nullptr, false, false};  // before, behind

    alignas(64) std::int32_t products[2][2 * kTileRows * 16];  // of two steps, [block][row][16]
    TileStep<BLOCK> steps[4] = {kNone, kNone, kNone, kNone};
};

// A pipeline of steps: while the rows and weights of one step are loaded, those of the previous step are multiplied,
// the products of the step before it are stored from the tiles, and those of the one before that are scaled and added.
// T: number of rows; the last ones may be unused.
template <int SHIFT, int BLOCK, int T> class TileLine {
public:
    TileLine(int shift, TileRoom<BLOCK>& room)
        : room_(room), shift_(SHIFT >= 0 ? SHIFT : shift), half_(broadcast((1 << shift_) >> 1)) {
        INTACT_UNROLLED(t, T) group_[t] = broadcast(64);
    }

    INTACT_INLINE void take(const TileStep<BLOCK>& step, const std::uint8_t* weights) { advance<true>(step, weights); }
    INTACT_INLINE void end() {
        for (int i = 0; i < 3; i++) advance<false>(TileRoom<BLOCK>::kNone, nullptr);
    }

private:
    template <bool LOADS> INTACT_INLINE void advance(const TileStep<BLOCK>& step, const std::uint8_t* weights) {
        constexpr std::int64_t kRow = 2 * BLOCK, kWeights = 16 * BLOCK;  // bytes of a tile's row, of a tile of weights
        room_.steps[count_ % 4] = step;
        const TileStep<BLOCK> stored = room_.steps[(count_ + 1) % 4];  // three steps ago
        std::int32_t* const to = room_.products[count_ % 2];
        const std::int32_t* const from = room_.products[(count_ + 1) % 2];
        const Lanes scales = load(stored.scales);
        const auto& own = stored.x->scale;
        count_++;
        store_tile<0>(to);
        add_rows<0, T / 4>(scales, own, from);
        multiply_tiles<0, 4, 6>();
        if constexpr (LOADS) load_tile<4>(step.x->codes[0], kRow), load_tile<6>(weights, 64);
        add_rows<T / 4, T / 2>(scales, own, from);
        store_tile<1>(to + kTileRows * 16);
        add_rows<T / 2, T * 3 / 4>(scales, own, from);
        multiply_tiles<1, 5, 7>();
        if constexpr (LOADS) load_tile<5>(step.x->codes[0] + BLOCK, kRow), load_tile<7>(weights + kWeights, 64);
        add_rows<T * 3 / 4, T>(scales, own, from);
        if (stored.ends) {
            if (stored.first)
                fold<true>(stored.out);
            else
                fold<false>(stored.out);
        }
    }

    template <int FROM, int TO>
    INTACT_INLINE void add_rows(Lanes scales, const std::int16_t (&own)[kTileRows][2], const std::int32_t* products) {
        INTACT_UNROLLED(i, TO - FROM) {
            const int t = FROM + i;
            Lanes low = load(products + t * 16), high = load(products + (kTileRows + t) * 16);
            if (SHIFT != 0) low = shift_right(add(low, half_), shift_), high = add(high, half_);
            high = SHIFT == 0 ? shift_left<16>(high) : shift_left(high, 16 - shift_);
            const Lanes scale = multiply_round15(scales, broadcast_halves(own[t]));
            group_[t] = dot_pairs(group_[t], blend_halves(low, high), scale);
        }
    }

    template <bool FIRST> INTACT_INLINE void fold(std::int32_t* out) {
        INTACT_UNROLLED(t, T) {
            const Lanes folded = shift_right<7>(group_[t]);
            store(out + t * 16, FIRST ? folded : add(load(out + t * 16), folded));
            group_[t] = broadcast(64);
        }
    }

    TileRoom<BLOCK>& room_;
    int shift_;
    unsigned count_ = 0;  // of steps so far
    Lanes half_, group_[T];
};

// Computes the sums of some panels, [panel][tile][T][16].
template <int BITS, int BLOCK, bool TABLE, int T>
void multiply_panels(const Matrix& w, std::int64_t panel, std::int64_t panels, std::int64_t tiles,
                     const TileRows<BLOCK>* x, std::int32_t* out) {
    constexpr int kBlocks = BLOCK / 16;              // blocks of 32 of a pair
    constexpr std::int64_t kLines = kBlocks * BITS;  // of a pair's codes
    constexpr int kGroup = kGroupPairs<BLOCK>;
    alignas(64) std::uint8_t bytes[kTilePanels][kGroup * kBlocks * 512];
    // Expanded scales, double-buffered: steps of the previous group are still in flight when those of a group begin.
    alignas(64) std::int16_t products[2][kTilePanels][kGroup * 32];
    const std::int16_t* scales[kTilePanels];
    TileRoom<BLOCK> room;
    const Lanes zero_point = broadcast(w.zero * 0x01010101);
    TileLine<kTileShift<BITS, TABLE>, BLOCK, T> line(w.shift, room);
    for (std::int64_t p = 0; p < w.pairs; p += kGroup) {
        const std::int64_t pairs = smaller<std::int64_t>(kGroup, w.pairs - p);
        for (std::int64_t q = 0; q < panels; q++) {
            scales[q] = numbers_of(w.scales, w.pairs, panel + q, p, pairs, products[p / kGroup % 2][q]);
            unpack_blocks<BITS, TABLE>(
                w, panel + q, p * kBlocks, (p + pairs) * kBlocks, bytes[q],
                [&](Lanes codes) INTACT_INLINE { return subtract_bytes(codes, zero_point); },
                [](const std::uint8_t*) {});
        }
        for (std::int64_t i = 0; i < tiles; i++)
            for (std::int64_t q = 0; q < panels; q++) {
                const TileRows<BLOCK>* rows = x + i * w.pairs + p;
                const std::int64_t next = (panel + q + kTilePanels) * w.pairs + p;
                const std::uint8_t* codes =
                    w.codes + ((panel + q + kTilePanels) * w.blocks + p * kBlocks) * BITS * 64;  // of the next panels
                std::int32_t* sums = out + (q * tiles + i) * T * 16;
                for (std::int64_t k = 0; k < pairs; k++, codes += kLines * 64) {
                    // Prefetch a few lines per step: many at once would delay the data that is needed now.
                    for (std::int64_t l = i; l < kLines; l += tiles) prefetch<2>(codes + l * 64);
                    if (i == 0 && w.scales.plain) prefetch<2>(w.scales.plain + (next + k) * 32);
                    if (i == 0 && w.scales.fine) prefetch<2>(w.scales.fine + (next + k) * 32);
                    line.take({rows + k, scales[q] + k * 32, sums, k + 1 == pairs, p == 0},
                              bytes[q] + k * kBlocks * 512);
                }
            }
    }
    line.end();
}

// Finishes the results of a tile of rows and a panel.
template <int BLOCK>
void finish_tile(const Matrix& w, const Activations& a, const RowScale* scale, std::int64_t row, std::int64_t height,
                 std::int64_t panel, const Output& out, const std::int32_t* sums) {
    const auto rows = [&]<int T>(std::int64_t t) INTACT_INLINE {
        alignas(64) std::int32_t minima[T * 16];
        alignas(64) std::int16_t products[4 * 32];
        if (w.has_min) {
            INTACT_UNROLLED(i, T) store(minima + i * 16, zero());
            for (std::int64_t p = 0; p < w.pairs; p += 4) {
                const std::int64_t count = smaller<std::int64_t>(4, w.pairs - p);
                add_minima<BLOCK, T>(fetch_plan<T>(), numbers_of(w.minima, w.pairs, panel, p, count, products), count,
                                     minima, [&](int i, std::int64_t k) INTACT_INLINE {
                                         return minima_sums<BLOCK>(a, row + t + i) + 2 * (p + k);
                                     });
            }
        }
        finish<T, 1>(w, scale + t, row + t, panel, out, sums + t * 16, minima);
        // Rows of results are far apart, so the hardware prefetcher cannot predict them.
        if (out.narrow)
            for (int i = 0; i < T; i++)
                prefetch_to_write(out.narrow + out.first + (row + t + i) * out.stride + (panel + kTilePanels) * 16);
    };
    std::int64_t t = 0;
    for (; t + 8 <= height; t += 8) rows.template operator()<8>(t);
    for (; t + 4 <= height; t += 4) rows.template operator()<4>(t);
    for (; t < height; t++) rows.template operator()<1>(t);
}

// Packs the rows of some tiles and the factors of their sums.
template <int BLOCK>
void pack_tiles(const Matrix& w, const Activations& a, std::int64_t first, const Tiles& tiles, const Output& out,
                RowScale* scale, TileRows<BLOCK>* to) {
    for (std::int64_t i = 0; i < tiles.count; i++, to += w.pairs)
        for (std::int64_t r = tiles.begin(i); r < tiles.begin(i + 1); r++) {
            const std::int64_t row = first + r, t = r - tiles.begin(i);
            const std::int8_t* codes = a.codes + row * a.stride;
            for (std::int64_t p = 0; p < w.pairs; p++) {
                __builtin_memcpy(to[p].codes[t], codes + p * 2 * BLOCK, 2 * BLOCK);
                pack_scales<BLOCK>(a, row, p, to[p].scale[t]);
            }
            scale[r] = RowScale(w, a, out, row);
        }
}

template <int BITS, int BLOCK, bool TABLE>
void matmul_of(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
               std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed) {
    static_assert(sizeof(RowScale) <= 4 * kRowScale && kMostRows * kRowScale % 16 == 0);
    // Rows come in multiples of eight, at least sixteen (row_block), so the worst case is 24, with the most padding
    // rows.
    static_assert(2 * sizeof(TileRows<BLOCK>) <= 24 * 48 * BLOCK / 16);
    auto* scale = reinterpret_cast<RowScale*>(scratch);
    auto* x = reinterpret_cast<TileRows<BLOCK>*>(scratch + kMostRows * kRowScale);
    const std::int64_t most = row_block(w.blocks, kTileRowBytes);
    alignas(64) std::int32_t sums[kTilePanels * kMostRows * 16];
    for (std::int64_t first = row0; first < row1; first += most) {
        const Tiles tiles(smaller(most, row1 - first), kTileRows);
        if (!packed) pack_tiles(w, a, first, tiles, out, scale, x);
        // A shorter tile among taller ones computes an extra row from whatever data is there.
        const std::int64_t height = (tiles.rows + tiles.count - 1) / tiles.count;
        shape_tiles<BLOCK>(height);
        const std::int64_t step = height > 12 ? 16 : 12;
        const auto multiply =
            step == 16 ? multiply_panels<BITS, BLOCK, TABLE, 16> : multiply_panels<BITS, BLOCK, TABLE, 12>;
        for (std::int64_t panel = panel0; panel < panel1; panel += kTilePanels) {
            const std::int64_t panels = smaller<std::int64_t>(kTilePanels, panel1 - panel);
            multiply(w, panel, panels, tiles.count, x, sums);
            for (std::int64_t q = 0; q < panels; q++)
                for (std::int64_t i = 0; i < tiles.count; i++) {
                    const std::int64_t begin = tiles.begin(i);
                    finish_tile<BLOCK>(w, a, scale + begin, first + begin, tiles.begin(i + 1) - begin, panel + q, out,
                                       sums + (q * tiles.count + i) * step * 16);
                }
        }
        release_tiles();
    }
}

constexpr std::int64_t kOwnRowBytes = kTileRowBytes;
