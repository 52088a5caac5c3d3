// Attention (docs/spec/numerics.md, section 7): queries of one KV head against the pages of their sequences.
//
// Tiles of queries times keys give all scores; then each query's scores become weights; then tiles of weights times
// values give the results. Queries with the same pages over a range of slots share its tiles.

// Quantises a vector in Q16 with the scale max(1, ceil(amax * 2^BITS / LARGEST)).
template <int BITS, int LARGEST, int DROP, class Put>
std::int32_t quantize_head(const std::int32_t* x, std::int64_t width, Put put) {
    const std::int64_t amax = largest_of_row(x, width);
    const std::int64_t scale = larger<std::int64_t>(((amax << BITS) + LARGEST - 1) / LARGEST, 1);
    const std::int64_t reciprocal = (std::int64_t{1} << (DROP + BITS)) / scale;
    std::int32_t codes[512];
    by_wide(width, [&](std::int64_t i, auto count) {
        store_wide(codes + i, round_shift_by<DROP>(load_wide(x + i, count) * reciprocal), count);
    });
    for (std::int64_t i = 0; i < width; i++) put(i, codes[i]);
    return static_cast<std::int32_t>(scale);
}

// Addresses of a position's key and value: the first number of each; the numbers are interleaved with those of other
// slots.
struct Slot {
    std::int16_t* keys;
    std::int8_t* values;
    std::int32_t *key_scale, *value_scale;
};
inline Slot slot_of(const HeadCache& cache, std::int64_t position) {
    std::uint8_t* page = cache.pages[position / cache.page_size];
    const std::int64_t at = position % cache.page_size, depth = cache.depth;
    return {reinterpret_cast<std::int16_t*>(page + cache.keys) + (at / 16) * 16 * depth + (at % 16) * 2,
            reinterpret_cast<std::int8_t*>(page + cache.values) + (at / 4) * 4 * depth + at % 4,
            reinterpret_cast<std::int32_t*>(page + cache.key_scales) + at,
            reinterpret_cast<std::int32_t*>(page + cache.value_scales) + at};
}

// Prefetches the lines that a position's key and value are written to. A key has one line for every two numbers; only
// the first eight are prefetched. The hardware continues from there and does not occupy a first-level miss buffer per
// line.
void expect(const HeadCache& cache, std::int64_t position) {
    const Slot to = slot_of(cache, position);
    for (std::int64_t d = 0; d < smaller<std::int64_t>(cache.depth, 16); d += 2) prefetch_to_write(to.keys + d * 16);
    for (std::int64_t d = 0; d < cache.depth; d += 16) prefetch_to_write(to.values + d * 4);
    prefetch_to_write(to.key_scale), prefetch_to_write(to.value_scale);
}

void append(const std::int32_t* key, const std::int32_t* value, std::int64_t width, const HeadCache& cache,
            std::int64_t position) {
    const Slot to = slot_of(cache, position);
    *to.key_scale = quantize_head<8, 2047, 48>(key, width, [&](std::int64_t i, std::int64_t q) {
        to.keys[(i / 2) * 32 + i % 2] = static_cast<std::int16_t>(q);
    });
    *to.value_scale = quantize_head<6, 127, 50>(
        value, width, [&](std::int64_t i, std::int64_t q) { to.values[4 * i] = static_cast<std::int8_t>(q); });
}

// The state of one call of attend.
struct QueryRow {
    std::int64_t mantissa, drop;  // of a query's scores
    std::int64_t half, rest;      // 2^(drop - 1); 32 - drop
    std::int64_t begin, end;      // slots whose weights are read
    std::int64_t h, mass;
    std::int32_t top;  // the largest score
    int shift;         // of products of e and values' scales; -1 where none fits (`soften_any`)
    bool plain;        // whether scores fit 32 bits unclipped, shifted right by at most 32
    bool begun;        // whether the totals hold something
    alignas(64) std::int64_t masses[8];
    std::int32_t bits[16];
};
static_assert(sizeof(QueryRow) == kQueryBytes);
struct Scales {                     // of all slots that some query sees
    std::int64_t key, least, most;  // the largest of a key; the smallest and the largest of a value
};
struct Work {
    const Query* queries;
    const Segment* segments;
    int count, segment_count;
    HeadCache cache;
    std::int64_t base, stride;  // the first slot of a row of scores, and its lanes
    QueryRow* rows;
    std::int64_t* totals;  // [query][depth]
    std::int32_t* scores;  // [query][stride]: scores, then e, then weights
    std::int16_t* codes;   // [query][depth]
    Scales scales;
    int shift;  // of products of e and values' scales, where no sink lies above the scores

    std::int32_t* score(int q, std::int64_t slot) const { return scores + q * stride + slot - base; }
    // Weights of 16 slots: the low seven bits, one byte each, followed by the upper bits.
    std::uint8_t* weight(int q, std::int64_t slot) const {
        return reinterpret_cast<std::uint8_t*>(scores + q * stride) + 2 * (slot - base);
    }
};

// 16 slots of a page, starting at slot `at`.
struct Block {
    const std::uint8_t* page;
    std::int64_t at;

    const std::int16_t* keys(const HeadCache& c) const {
        return reinterpret_cast<const std::int16_t*>(page + c.keys) + at * c.depth;
    }
    const std::int8_t* values(const HeadCache& c) const {
        return reinterpret_cast<const std::int8_t*>(page + c.values) + at * c.depth;
    }
    const std::int32_t* key_scales(const HeadCache& c) const {
        return reinterpret_cast<const std::int32_t*>(page + c.key_scales) + at;
    }
    const std::int32_t* value_scales(const HeadCache& c) const {
        return reinterpret_cast<const std::int32_t*>(page + c.value_scales) + at;
    }
};

constexpr std::int64_t kSlots = 512;  // that all queries of a segment take before any takes the next
static_assert(4095 * 127 * kSlots <= kLimit);

inline std::int64_t end_of(const Query& q) { return q.end + (q.more ? 64 - __builtin_clzll(q.more) : 0); }

// A bit mask of the slots among 16 that a query sees.
inline std::uint32_t visible(const Query& q, std::int64_t slot) {
    const auto below = [&](std::int64_t end) {  // bits of the slots before `end`
        return (std::uint32_t{1} << smaller<std::int64_t>(larger<std::int64_t>(end - slot, 0), 16)) - 1;
    };
    const std::int64_t gap = slot - q.end;
    const std::uint64_t more = gap >= 64 || gap <= -16 ? 0 : gap >= 0 ? q.more >> gap : q.more << -gap;
    return (below(q.end) & ~below(q.first)) | (static_cast<std::uint32_t>(more) & 0xFFFF);
}

// Slots from..to - 1, in whole blocks, that at least one of queries first..first + count - 1 sees. `blocks` extends
// kAhead blocks further, with the blocks that come next, in this segment or later ones.
struct Tile {
    int first, count;
    std::int64_t from, to;
    const Block* blocks;
};
constexpr int kAhead =
    4;  // blocks that are fetched ahead: pages lie anywhere, which no prefetcher of hardware foresees

// Iterates over the blocks of all segments in order.
struct BlockWalk {
    BlockWalk(const Work& work, const Segment* segment) : u(work), s(segment) { enter(); }
    Block next() {
        if (slot == s->end && s + 1 < u.segments + u.segment_count) s++, enter();
        if (slot == s->end) return last;
        last = {*page, at};
        slot += 16, at += 16;
        if (at == u.cache.page_size) at = 0, page++;
        return last;
    }

private:
    void enter() {
        page = u.queries[s->first].pages + s->begin / u.cache.page_size;
        at = s->begin % u.cache.page_size, slot = s->begin;
    }

    const Work& u;
    const Segment* s;
    std::uint8_t* const* page;
    std::int64_t at, slot;
    Block last{};
};

// Prefetches the data that the next step reads first, while the current queries keep the multipliers busy and the
// memory idle: iteration i of n fetches the i-th part of `blocks`. next: start of the next block's lines, `bytes` of
// them.
template <class F> INTACT_INLINE inline void fetch_part(int i, int n, std::int64_t blocks, std::int64_t bytes, F next) {
    for (std::int64_t b = blocks * i / n; b < blocks * (i + 1) / n; b++) {
        const char* lines = reinterpret_cast<const char*>(next(b));
        for (std::int64_t at = 0; at < bytes; at += 64) prefetch<2>(lines + at);
    }
}
constexpr std::int64_t kFetched = 1 << 17;  // bytes of keys: what the second-level cache holds beside the rest

// Calls f for each tile of at most MOST queries and the slots of a segment that at least one of them sees.
template <int MOST, class F> void by_tiles(const Work& u, F f) {
    for (const Segment* s = u.segments; s < u.segments + u.segment_count; s++) {
        BlockWalk walk(u, s);
        Block blocks[kSlots / 16 + kAhead];
        for (int i = 0; i < kAhead; i++) blocks[i] = walk.next();
        for (std::int64_t from = s->begin; from < s->end; from += kSlots) {
            const std::int64_t to = smaller(from + kSlots, s->end);
            for (std::int64_t i = 0; i < (to - from) / 16; i++) blocks[i + kAhead] = walk.next();
            const int count = s->last - s->first, tiles = (count + MOST - 1) / MOST;
            for (int i = 0; i < tiles; i++) {
                const int a = s->first + count * i / tiles, b = s->first + count * (i + 1) / tiles;
                std::int64_t first = u.queries[a].first, end = end_of(u.queries[a]);
                for (int q = a + 1; q < b; q++) {
                    first = smaller(first, u.queries[q].first);
                    end = larger(end, end_of(u.queries[q]));
                }
                first = larger(first / 16 * 16, from);
                end = smaller((end + 15) / 16 * 16, to);
                if (first < end) f(Tile{a, b - a, first, end, blocks + (first - from) / 16});
            }
            for (int i = 0; i < kAhead; i++) blocks[i] = blocks[(to - from) / 16 + i];
        }
    }
}

// Does not read slots that no query sees.
inline Scales survey(const Work& u) {
    Lanes key = zero(), least = broadcast(static_cast<std::int32_t>(kLimit)), most = zero();
    by_tiles<1 << 30>(u, [&](const Tile& tile) {
        Query all = u.queries[tile.first];
        all.end = end_of(all), all.more = 0;
        for (int q = tile.first + 1; q < tile.first + tile.count; q++) {
            all.first = smaller(all.first, u.queries[q].first);
            all.end = larger(all.end, end_of(u.queries[q]));
        }
        for (std::int64_t p = tile.from; p < tile.to; p += 16) {
            const Block& block = tile.blocks[(p - tile.from) / 16];
            const Mask mask = mask_of(visible(all, p));
            const Lanes value = load(block.value_scales(u.cache));
            prefetch((&block)[kAhead].key_scales(u.cache)), prefetch((&block)[kAhead].value_scales(u.cache));
            key = larger_lanes(key, keep(mask, load(block.key_scales(u.cache))));
            least = smaller_lanes(least, choose(mask, value, least));
            most = larger_lanes(most, keep(mask, value));
        }
    });
    const auto lane = [](Lanes x, auto pick) {
        alignas(64) std::int32_t lanes[16];
        store(lanes, x);
        std::int64_t best = lanes[0];
        for (const std::int64_t y : lanes) best = pick(best, y);
        return best;
    };
    return {lane(key, larger<std::int64_t>), lane(least, smaller<std::int64_t>), lane(most, larger<std::int64_t>)};
}

inline void quantize_query(const std::int32_t* x, std::int64_t width, std::int64_t depth, QueryScale scale,
                           const Scales& scales, std::int16_t* codes, QueryRow& row) {
    const std::int64_t amax = largest_of_row(x, width);
    const std::int64_t reciprocal = (std::int64_t{2047} << 48) / larger<std::int64_t>(amax, 1);
    by_wide(width, [&](std::int64_t i, auto count) {
        store_wide(codes + i, round_shift_by<48>(load_wide(x + i, count) * reciprocal), count);
    });
    for (std::int64_t i = width; i < depth; i++) codes[i] = 0;
    const std::int64_t product = amax * scale.mantissa;
    const int bits = bit_length(product);
    row.mantissa = shift_either(product, bits - 15);
    row.drop = scale.exponent + 24 - bits;
    const std::int64_t most = round_shift_by<15>(2047 * 2047 * width * row.mantissa);
    row.plain = row.drop >= 0 && row.drop <= 32 && round_shift(most * scales.key, row.drop) <= kLimit;
    if (row.plain) row.half = (std::int64_t{1} << row.drop) >> 1, row.rest = 32 - row.drop;
}

inline Lanes high_words(Lanes x) { return shift_unsigned_wide<32>(x); }  // to low ones

// Converts sums of products of any magnitude to scores in base 2 and Q16.
__attribute__((noinline)) void scale_any(std::int32_t* x, const std::int32_t* key_scales, const QueryRow& row) {
    for (int i = 0; i < 16; i++)
        x[i] = static_cast<std::int32_t>(
            saturate(shift_either(round_shift_by<15>(x[i] * row.mantissa) * key_scales[i], row.drop)));
}
// The same for rows that are `plain`: |sum * mantissa| < 2^46, and the product fits 32 bits after its shift, as scores
// do.
INTACT_INLINE inline Lanes scale_plain(Lanes sums, Lanes key_scales, Lanes other_scales, const QueryRow& row) {
    const Lanes mantissa = broadcast_wide(row.mantissa), half = broadcast_wide(1 << 14);
    const auto scaled = [&](Lanes x, Lanes scale) INTACT_INLINE {
        x = shift_unsigned_wide<15>(add_wide(multiply_low(x, mantissa), half));
        return add_wide(multiply_low(x, scale), broadcast_wide(row.half));
    };
    return blend_words(shift_unsigned_wide(scaled(sums, key_scales), row.drop),
                       shift_left_wide(scaled(high_words(sums), other_scales), row.rest));
}

// Computes the scores of T queries and B blocks of keys; prefetches the blocks that are kAhead further.
template <int T, int B, bool PLAIN> void score_tile(const Work& u, int first, std::int64_t slot, const Block* blocks) {
    const std::int64_t depth = u.cache.depth;
    const std::int16_t *keys[B], *later[B];
    Lanes acc[B][T];
    INTACT_UNROLLED(b, B) {
        keys[b] = blocks[b].keys(u.cache);
        later[b] = blocks[b + kAhead].keys(u.cache);
        INTACT_UNROLLED(t, T) acc[b][t] = zero();
    }
    const std::int16_t* codes = u.codes + first * depth;
    std::int64_t d = 0;
    // Prefetch in memory order, which the hardware prefetcher can follow.
    repeat<B>([&]<int part>() INTACT_INLINE {
        const std::int16_t* line = later[part];
        for (const std::int64_t end = depth / 2 * (part + 1) / B * 2; d < end; d += 2) {
            Lanes k[B];
            INTACT_UNROLLED(b, B) {
                k[b] = load(keys[b] + d * 16);
                prefetch(line);
                line += 32;
            }
            INTACT_UNROLLED(t, T) {
                std::int32_t two;
                __builtin_memcpy(&two, codes + t * depth + d, 4);
                INTACT_UNROLLED(b, B) acc[b][t] = dot_pairs(acc[b][t], k[b], broadcast(two));
            }
        }
    });
    std::int32_t* scores = u.score(first, slot);
    const QueryRow* rows = u.rows + first;
    const std::int64_t stride = u.stride;
    INTACT_UNROLLED(b, B) {
        const std::int32_t* key_scales = blocks[b].key_scales(u.cache);
        const Lanes scales = load(key_scales), others = high_words(scales);
        INTACT_UNROLLED(t, T) {
            std::int32_t* to = scores + t * stride + 16 * b;
            if constexpr (PLAIN) {
                store(to, scale_plain(acc[b][t], scales, others, rows[t]));
            } else {
                store(to, acc[b][t]);
                scale_any(to, key_scales, rows[t]);
            }
        }
    }
}

struct Every {};  // a mask that lets all pass
inline Lanes keep(Every, Lanes x) { return x; }
inline Lanes choose(Every, Lanes x, Lanes) { return x; }

// Twice exp2_neg (integer.inl) of N times 16 gaps in Q16, plus one if that is even; the result is 1 for lanes that
// `keep` leaves out and for gaps of 31 and more. A fraction has 16 bits, so 47-bit products shifted by 16 give the same
// result; the next coefficient and half a unit are added before the shift.
template <int N, class M> INTACT_INLINE inline void exp2_neg_lanes(Lanes (&x)[N], M mask) {
    Lanes fraction[2 * N], acc[2 * N];
    INTACT_UNROLLED(n, N) {
        fraction[2 * n] = even_fraction(x[n]);
        fraction[2 * n + 1] = odd_fraction(x[n]);
    }
    INTACT_UNROLLED(i, 2 * N) acc[i] = broadcast_wide(-1014583);
    const auto next = [&]<bool NEGATIVE>(std::int64_t c) INTACT_INLINE {
        INTACT_UNROLLED(i, 2 * N) acc[i] = horner<NEGATIVE>(acc[i], fraction[i], c);
    };
    next.template operator()<true>(9884650);
    next.template operator()<false>(-59375086);
    next.template operator()<true>(257891465);
    next.template operator()<false>(-744257403);
    INTACT_UNROLLED(i, 2 * N) acc[i] = horner_sum<true>(acc[i], fraction[i], 1073741824);
    INTACT_UNROLLED(n, N) {
        // Twice the result: the lowest bit of each word comes from the operand that has one there.
        const Lanes y = choose_bits(broadcast_wide(static_cast<std::int64_t>(0xFFFFFFFE00000001)),
                                    shift_left_wide<17>(acc[2 * n + 1]), shift_unsigned_wide<15>(acc[2 * n]));
        const Lanes whole = shift_unsigned<16>(x[n]);
        x[n] = add(keep(less(whole, broadcast(31)), keep(mask, shift_unsigned(y, whole))), broadcast(1));
    }
}

// Calls f<N>(slot, mask) for groups of N times 16 slots in from..to - 1 that contain visible slots; N is 1 or MOST.
template <int MOST, class F>
INTACT_INLINE inline void by_visible(const Query& q, std::int64_t from, std::int64_t to, F f) {
    from = larger(q.first / 16 * 16, from), to = smaller(end_of(q), to);
    const std::int64_t full = smaller(larger((q.first + 15) / 16 * 16, from), to);
    const std::int64_t rest = larger(smaller(q.end / 16 * 16, to), full);
    const auto some = [&](std::int64_t p, std::int64_t end) {
        for (; p < end; p += 16)
            if (const std::uint32_t bits = visible(q, p)) f.template operator()<1>(p, mask_of(bits));
    };
    some(from, full);
    std::int64_t p = full;
    for (; p + 16 * MOST <= rest; p += 16 * MOST) f.template operator()<MOST>(p, Every());
    for (; p + 16 <= rest; p += 16) f.template operator()<1>(p, Every());
    some(rest, to);
}

// Chooses the shift of products of e and the values' scales: large enough for all to fit 31 bits, and small enough for
// the largest to keep 13. Where a sink exceeds all scores, it reduces every e by the same number of bits.
inline int product_shift(const Scales& scales, std::int64_t gap) {
    const int less = gap > 0 ? static_cast<int>(smaller<std::int64_t>(gap >> 16, 64)) + 2 : 0;
    const int shift = smaller(17 + bit_length(scales.least) - less, 32);
    const bool fits = bit_length(scales.most) <= shift + (gap > 0 ? less - 1 : 1);
    return shift >= 0 && fits ? shift : -1;
}

// Finds the largest score, including a sink's, which also starts the mass.
inline void find_top(const Work& u, int i) {
    alignas(64) std::int32_t lanes[16];
    Lanes most = broadcast(-static_cast<std::int32_t>(kLimit));
    by_visible<1>(u.queries[i], 0, u.queries[i].end + 64, [&]<int N>(std::int64_t p, auto mask) INTACT_INLINE {
        most = larger_lanes(most, choose(mask, load(u.score(i, p)), most));
    });
    store(lanes, most);
    QueryRow& row = u.rows[i];
    const std::int32_t sink = u.queries[i].sink;
    row.top = lanes[0];
    for (const std::int32_t x : lanes) row.top = larger(row.top, x);
    row.shift = sink > row.top ? product_shift(u.scales, std::int64_t{sink} - row.top) : u.shift;
    row.top = larger(row.top, sink);
    row.mass = sink == kNoSink ? 0 : exp2_neg<std::int64_t>(std::int64_t{row.top} - sink);
    store(row.masses, zero());
    store(row.bits, zero());
}

// Converts a query's scores in a tile to shifted products of e and the values' scales.
inline void soften(const Work& u, int i, const Tile& tile) {
    QueryRow& row = u.rows[i];
    const int drop = row.shift;
    const Lanes top = broadcast(row.top);
    Lanes masses = load(row.masses), other_masses = zero(), bits = load(row.bits);
    by_visible<2>(u.queries[i], tile.from, tile.to, [&]<int N>(std::int64_t p, auto mask) INTACT_INLINE {
        const Block* block = tile.blocks + (p - tile.from) / 16;
        std::int32_t* at = u.score(i, p);
        Lanes e[N];
        INTACT_UNROLLED(n, N) e[n] = subtract(top, load(at + 16 * n));
        exp2_neg_lanes(e, mask);
        INTACT_UNROLLED(n, N) {
            const Lanes scale = load(block[n].value_scales(u.cache)), other = shift_unsigned_wide<33>(e[n]);
            const Lanes twice = bit_and(e[n], broadcast_wide(0xFFFFFFFE));
            masses = add_wide(masses, twice);
            other_masses = add_wide(other_masses, other);
            const Lanes t = blend_words(shift_unsigned_wide(multiply_unsigned(twice, scale), drop + 1),
                                        shift_left_wide(multiply_unsigned(other, high_words(scale)), 32 - drop));
            bits = bit_or(bits, t);
            store(at + 16 * n, t);
        }
    });
    store(row.masses, add_wide(masses, add_wide(other_masses, other_masses)));
    store(row.bits, bits);
}

// Converts a query's products to 12-bit weights, in place. `all` is the bitwise OR of all products after a shift by
// `drop`: at least 13 bits, unless they were doubled (a shift by -1).
inline void weigh(const Work& u, int i, int drop, std::int64_t all) {
    QueryRow& row = u.rows[i];
    const int more = larger(bit_length(all) - 13, 0);
    row.h = drop + more + 1;
    std::int64_t done = row.begin;
    const auto skip = [&](std::int64_t to) {
        for (; done < to; done += 16) __builtin_memset(u.weight(i, done), 0, 32);
    };
    by_visible<2>(u.queries[i], 0, u.queries[i].end + 64, [&]<int N>(std::int64_t p, auto) INTACT_INLINE {
        skip(p);
        INTACT_UNROLLED(n, N) {
            const Lanes twice = shift_right(load(u.score(i, p + 16 * n)), more);
            const Lanes w = smaller_lanes(shift_unsigned<1>(add(twice, broadcast(1))), broadcast(4095));
            store_weights(u.weight(i, p + 16 * n), w);
        }
        done = p + 16 * N;
    });
    skip(row.end);
}

// Converts scores to weights where the values' scales differ too much for a common shift to fit products in 32 bits, or
// where a sink leaves too few bits: it determines the shift first.
__attribute__((noinline)) void soften_any(const Work& u, int i) {
    const Query& q = u.queries[i];
    QueryRow& row = u.rows[i];
    const auto each = [&](auto f) {
        for (std::int64_t p = q.first / 16 * 16; p < end_of(q); p += 16) {
            const std::uint32_t bits = visible(q, p);
            const auto* scales =
                reinterpret_cast<const std::int32_t*>(q.pages[p / u.cache.page_size] + u.cache.value_scales) +
                p % u.cache.page_size;
            std::int32_t* score = u.score(i, p);
            for (int k = 0; bits && k < 16; k++)
                f(score[k], bits >> k & 1 ? exp2_neg<std::int64_t>(std::int64_t{row.top} - score[k]) : 0, scales[k]);
        }
    };
    std::int64_t all = 0;
    each([&](std::int32_t&, std::int64_t e, std::int64_t scale) { row.mass += e, all |= e * scale; });
    const int drop = larger(bit_length(all) - 13, -1);
    const auto shifted = [&](std::int64_t x) { return drop < 0 ? 2 * x : x >> drop; };
    each([&](std::int32_t& score, std::int64_t e, std::int64_t scale) {
        score = static_cast<std::int32_t>(shifted(e * scale));
    });
    weigh(u, i, drop, shifted(all));
}

// Four slots: their values and the first query's weights.
struct Four {
    const std::int8_t* values;
    const std::uint8_t* weights;
};
// The slots of a tile with a nonzero weight, separately for the upper bits, which are rarely set, and the lower ones.
struct Fours {
    Fours(const Work& u, const Tile& tile) {
        const std::uint8_t* weights = u.weight(tile.first, tile.from);
        for (std::int64_t p = tile.from; p < tile.to; p += 16, weights += 32) {
            const std::int8_t* values = tile.blocks[(p - tile.from) / 16].values(u.cache);
            std::uint64_t any[4] = {};
            for (int t = 0; t < tile.count; t++)
                for (int i = 0; i < 4; i++) {
                    std::uint64_t eight;
                    __builtin_memcpy(&eight, weights + t * 4 * u.stride + 8 * i, 8);
                    any[i] |= eight;
                }
            for (int i = 0; i < 8; i++) {
                Four* list = lists[i / 4];
                int& count = counts[i / 4];
                list[count] = {values + i % 4 * 4 * u.cache.depth, weights + 4 * i};
                count += (any[i / 2] >> (i % 2 * 32) & 0xFFFFFFFF) != 0;
            }
        }
        // Each list is followed by the next: the upper bits' list, then the lower bits', then the data after the tile.
        for (int i = 0; i < kFoursAhead; i++) {
            lists[0][counts[0] + i] = {
                tile.blocks[(tile.to - tile.from) / 16 + i / 4].values(u.cache) + i % 4 * 4 * u.cache.depth, nullptr};
        }
        for (int i = 0; i < kFoursAhead; i++) lists[1][counts[1] + i] = lists[0][i];
    }
    static constexpr int kFoursAhead = 8;
    static_assert(kFoursAhead <= 4 * kAhead);
    Four lists[2][kSlots / 4 + kFoursAhead];
    int counts[2] = {};
};

// Adds weights times values of T queries to the totals, for 16 * C elements starting at `column`.
template <int T, int C>
__attribute__((noinline)) void mix_tile(const Fours& fours, std::int64_t stride, std::int64_t* totals,
                                        std::int64_t depth, std::int64_t column) {
    Lanes acc[T][C];
    INTACT_UNROLLED(t, T) { INTACT_UNROLLED(c, C) acc[t][c] = zero(); }
    for (int part = 1;; part--) {
        const Four* end = fours.lists[part] + fours.counts[part];
        for (const Four* four = fours.lists[part]; four < end; four++) {
            const std::int8_t* values = four->values + 4 * column;
            const std::uint8_t* weights = four->weights;
            Lanes v[C];
            INTACT_UNROLLED(c, C) {
                v[c] = load(values + 64 * c);
                prefetch(four[Fours::kFoursAhead].values + 4 * column + 64 * c);
            }
            INTACT_UNROLLED(t, T) {
                std::int32_t w;
                __builtin_memcpy(&w, weights + t * stride, 4);
                INTACT_UNROLLED(c, C) acc[t][c] = dot_codes(acc[t][c], broadcast(w), v[c]);
            }
        }
        if (part == 0) break;
        INTACT_UNROLLED(t, T) { INTACT_UNROLLED(c, C) acc[t][c] = shift_left<kLowBits>(acc[t][c]); }
    }
    INTACT_UNROLLED(t, T) {
        INTACT_UNROLLED(c, C) {
            alignas(64) std::int32_t sums[16];
            store(sums, acc[t][c]);
            std::int64_t* to = totals + t * depth + column + 16 * c;
            for (int i = 0; i < 16; i += kWide) store_wide(to + i, load_wide(to + i) + load_wide(sums + i));
        }
    }
}

void attend(const Query* queries, int count, const Segment* segments, int segment_count, std::int64_t width,
            QueryScale scale, const HeadCache& cache, std::uint8_t* scratch) {
    std::int64_t first = queries[0].first, last = end_of(queries[0]);
    for (int q = 1; q < count; q++) {
        first = smaller(first, queries[q].first);
        last = larger(last, end_of(queries[q]));
    }
    const std::int64_t depth = cache.depth, base = first / 16 * 16;
    Work u{queries,
           segments,
           count,
           segment_count,
           cache,
           base,
           score_stride((last + 15) / 16 * 16 - base),
           reinterpret_cast<QueryRow*>(scratch),
           nullptr,
           nullptr,
           nullptr,
           {},
           0};
    u.totals = reinterpret_cast<std::int64_t*>(scratch + count * kQueryBytes);
    u.scores = reinterpret_cast<std::int32_t*>(u.totals + count * depth);
    u.codes = reinterpret_cast<std::int16_t*>(u.scores + count * u.stride);
    u.scales = survey(u);
    u.shift = product_shift(u.scales, 0);
    BlockWalk walk(u, segments);
    std::int64_t blocks = 0;
    for (int s = 0; s < segment_count; s++) blocks += (segments[s].end - segments[s].begin) / 16;
    blocks = smaller(blocks, kFetched / (32 * depth));
    for (int q = 0; q < count; q++) {
        fetch_part(q, count, blocks, 32 * depth, [&](std::int64_t) { return walk.next().keys(cache); });
        quantize_query(queries[q].x, width, depth, scale, u.scales, u.codes + q * depth, u.rows[q]);
    }
    bool plain = true;
    for (int q = 0; q < count; q++) plain &= u.rows[q].plain;
    by_tiles<kScoreRows>(u, [&](const Tile& tile) {
        repeat<kScoreRows>([&]<int T>() {
            if (tile.count != T + 1) return;
            std::int64_t p = tile.from;
            const Block* block = tile.blocks;
            for (; plain && p + 16 * kScoreBlocks <= tile.to; p += 16 * kScoreBlocks, block += kScoreBlocks)
                score_tile<T + 1, kScoreBlocks, true>(u, tile.first, p, block);
            for (; plain && p < tile.to; p += 16, block++) score_tile<T + 1, 1, true>(u, tile.first, p, block);
            for (; p < tile.to; p += 16, block++) score_tile<T + 1, 1, false>(u, tile.first, p, block);
        });
    });
    for (int q = 0; scale.cap.slope && q < count; q++)
        by_visible<1>(queries[q], 0, queries[q].end + 64,
                      [&]<int N>(std::int64_t p, auto) INTACT_INLINE { soft_cap(u.score(q, p), 16, scale.cap); });
    for (int q = 0; q < count; q++) u.rows[q].begin = last, u.rows[q].end = 0, u.rows[q].begun = false;
    by_tiles<kMixRows>(u, [&](const Tile& tile) {
        for (int q = tile.first; q < tile.first + tile.count; q++) {
            u.rows[q].begin = smaller(u.rows[q].begin, tile.from);
            u.rows[q].end = larger(u.rows[q].end, tile.to);
        }
    });
    bool any = false;
    for (int q = 0; q < count; q++) {
        find_top(u, q);
        any |= u.rows[q].shift >= 0;
    }
    if (any)
        by_tiles<1 << 30>(u, [&](const Tile& tile) {
            for (int q = 0; q < tile.count; q++) {
                fetch_part(q, tile.count, (tile.to - tile.from) / 16, 16 * depth,
                           [&](std::int64_t b) { return tile.blocks[b].values(cache); });
                if (u.rows[tile.first + q].shift >= 0) soften(u, tile.first + q, tile);
            }
        });
    for (int q = 0; q < count; q++) {
        QueryRow& row = u.rows[q];
        if (row.shift < 0) {
            soften_any(u, q);
            continue;
        }
        for (const std::int64_t x : row.masses) row.mass += x / 2;
        std::int64_t bits = 0;
        for (const std::int32_t x : row.bits) bits |= x;
        weigh(u, q, row.shift, bits);
    }
    by_tiles<kMixRows>(u, [&](const Tile& tile) {
        repeat<kMixRows>([&]<int T>() {
            if (tile.count != T + 1) return;
            for (int q = tile.first; q < tile.first + tile.count; q++) {
                if (!u.rows[q].begun) __builtin_memset(u.totals + q * depth, 0, static_cast<std::size_t>(depth) * 8);
                u.rows[q].begun = true;
            }
            const Fours fours(u, tile);
            std::int64_t* totals = u.totals + tile.first * depth;
            std::int64_t d = 0;
            for (; d + 16 * kMixColumns <= depth; d += 16 * kMixColumns)
                mix_tile<T + 1, kMixColumns>(fours, 4 * u.stride, totals, depth, d);
            for (; d < depth; d += 16) mix_tile<T + 1, 1>(fours, 4 * u.stride, totals, depth, d);
        });
    });
    for (int q = 0; q < count; q++) {
        const QueryRow& row = u.rows[q];
        const int s = bit_length(row.mass) - 23;
        const std::int64_t inverse = (std::int64_t{1} << 46) / round_shift(row.mass, s), drop = 52 + s - row.h;
        by_wide(width, [&](std::int64_t i, auto n) {
            const Wide total = load_wide(u.totals + q * depth + i, n);
            store_wide(queries[q].out + i, saturate(round_shift(total * inverse, drop)), n);
        });
    }
}

// Computes the unnormalised probabilities (section 10) of n logits, as Q30, and their sum.
void weights(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope, std::int32_t* out,
             std::int64_t* mass) {
    const std::int64_t limit = (std::int64_t{1} << 61) / slope;
    Wide sum{};
    by_wide(n, [&](std::int64_t i, auto count) {
        // Lanes beyond the end have undefined contents; clipping at 0 keeps them within bounds, and they are dropped
        // below.
        const Wide gap =
            smaller(larger(std::int64_t{largest} - load_wide(logits + i, count), Wide{}), all<Wide>(limit));
        Wide e = exp2_neg(round_shift_by<30>(gap * slope));
        if (count < kWide) e = first_of(e, count);
        store_wide(out + i, e, count);
        sum += e;
    });
    *mass = total_of(sum);
}
