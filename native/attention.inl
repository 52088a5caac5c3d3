// Attention (docs/numerics.md, section 7): queries of one KV head against the pages of their sequences.
//
// Tiles of queries times keys give all scores; then each query's scores become weights; then tiles of weights times
// values give the results. Queries whose pages are the same over a stretch of slots share its tiles.

// Codes of a vector in Q16 under the scale max(1, ceil(amax * 2^BITS / LARGEST)).
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

template <class T> T* part(const HeadCache& cache, std::int64_t position, std::int64_t offset) {
    return reinterpret_cast<T*>(cache.pages[position / cache.page_size] + offset);
}

void append(const std::int32_t* key, const std::int32_t* value, std::int64_t width, const HeadCache& cache,
            std::int64_t position) {
    const std::int64_t at = position % cache.page_size, depth = cache.depth;
    std::int16_t* keys = part<std::int16_t>(cache, position, cache.keys) + (at / 16) * 16 * depth + (at % 16) * 2;
    std::int8_t* values = part<std::int8_t>(cache, position, cache.values) + (at / 4) * 4 * depth + at % 4;
    part<std::int32_t>(cache, position, cache.key_scales)[at] = quantize_head<8, 2047, 48>(
        key, width, [&](std::int64_t i, std::int64_t q) { keys[(i / 2) * 32 + i % 2] = static_cast<std::int16_t>(q); });
    part<std::int32_t>(cache, position, cache.value_scales)[at] = quantize_head<6, 127, 50>(
        value, width, [&](std::int64_t i, std::int64_t q) { values[4 * i] = static_cast<std::int8_t>(q); });
}

// What one call of attend works on.
struct QueryRow {
    std::int64_t mantissa, drop;  // of a query's scores
    std::int64_t begin, end;      // slots whose weights are read
    std::int64_t h, mass;
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

    std::int32_t* score(int q, std::int64_t slot) const { return scores + q * stride + slot - base; }
    // Weights of 16 slots: their low seven bits, one byte each, then the rest.
    std::uint8_t* weight(int q, std::int64_t slot) const {
        return reinterpret_cast<std::uint8_t*>(scores + q * stride) + 2 * (slot - base);
    }
    template <class T> const T* part(int q, std::int64_t slot, std::int64_t offset) const {
        return reinterpret_cast<const T*>(queries[q].pages[slot / cache.page_size] + offset);
    }
};

constexpr std::int64_t kSlots = 512;  // that all queries of a segment take before any takes the next
static_assert(127 * 127 * kSlots <= kLimit);

inline std::int64_t end_of(const Query& q) { return q.end + (q.more ? 64 - __builtin_clzll(q.more) : 0); }

// Calls f(first, count, from, to) for tiles of at most MOST queries by slots of a segment that any of them sees.
template <int MOST, class F> void by_tiles(const Work& u, F f) {
    for (const Segment* s = u.segments; s < u.segments + u.segment_count; s++)
        for (std::int64_t from = s->begin; from < s->end; from += kSlots) {
            const int count = s->last - s->first, tiles = (count + MOST - 1) / MOST;
            for (int i = 0; i < tiles; i++) {
                const int a = s->first + count * i / tiles, b = s->first + count * (i + 1) / tiles;
                std::int64_t first = u.queries[a].first, end = end_of(u.queries[a]);
                for (int q = a + 1; q < b; q++) {
                    first = smaller(first, u.queries[q].first);
                    end = larger(end, end_of(u.queries[q]));
                }
                first = larger(first / 16 * 16, from);
                end = smaller((end + 15) / 16 * 16, smaller(from + kSlots, s->end));
                if (first < end) f(a, b - a, first, end);
            }
        }
}

inline void quantize_query(const std::int32_t* x, std::int64_t width, std::int64_t depth, QueryScale scale,
                           std::int16_t* codes, QueryRow& row) {
    const std::int64_t amax = largest_magnitude(x, width);
    const std::int64_t reciprocal = (std::int64_t{2047} << 48) / larger<std::int64_t>(amax, 1);
    by_wide(width, [&](std::int64_t i, auto count) {
        store_wide(codes + i, round_shift_by<48>(load_wide(x + i, count) * reciprocal), count);
    });
    for (std::int64_t i = width; i < depth; i++) codes[i] = 0;
    const std::int64_t product = amax * scale.mantissa;
    const int bits = bit_length(product);
    row.mantissa = shift_either(product, bits - 15);
    row.drop = scale.exponent + 24 - bits;
}

inline Lanes high_words(Lanes x) { return shift_unsigned_wide<32>(x); }  // to low ones

// Scores in base 2 and Q16 from the sums of products: |sum * mantissa| < 2^46, and it fits 32 bits after its shift.
inline Lanes scale_scores(Lanes sums, Lanes key_scales, const QueryRow& row) {
    if (row.drop < 0 || row.drop > 62) {
        alignas(64) std::int32_t x[16], scales[16];
        store(x, sums);
        store(scales, key_scales);
        for (int i = 0; i < 16; i++)
            x[i] = static_cast<std::int32_t>(
                saturate(shift_either(round_shift_by<15>(x[i] * row.mantissa) * scales[i], row.drop)));
        return load(x);
    }
    const Lanes mantissa = broadcast(static_cast<std::int32_t>(row.mantissa)), half = broadcast_wide(1 << 14);
    const Lanes rounding = broadcast_wide((std::int64_t{1} << row.drop) >> 1);
    const int drop = static_cast<int>(row.drop);
    const auto scaled = [&](Lanes x, Lanes scale) {
        x = shift_unsigned_wide<15>(add_wide(multiply_low(x, mantissa), half));
        return clip_wide(shift_right_wide(add_wide(multiply_low(x, scale), rounding), drop), kLimit);
    };
    return blend_words(scaled(sums, key_scales), shift_left_wide<32>(scaled(high_words(sums), high_words(key_scales))));
}

// Scores of T queries with B blocks of 16 keys.
template <int T, int B> void score_tile(const Work& u, int first, std::int64_t slot) {
    const std::int64_t depth = u.cache.depth;
    const std::int16_t* keys[B];
    Lanes acc[T][B];
    for (int b = 0; b < B; b++) {
        const std::int64_t p = slot + 16 * b;
        keys[b] = u.part<std::int16_t>(first, p, u.cache.keys) + p % u.cache.page_size * depth;
        for (int t = 0; t < T; t++) acc[t][b] = zero();
    }
    const std::int16_t* codes = u.codes + first * depth;
    for (std::int64_t d = 0; d < depth; d += 2) {
        Lanes k[B];
        for (int b = 0; b < B; b++) k[b] = load(keys[b] + d * 16);
        for (int t = 0; t < T; t++) {
            std::int32_t two;
            __builtin_memcpy(&two, codes + t * depth + d, 4);
            for (int b = 0; b < B; b++) acc[t][b] = dot_pairs(acc[t][b], k[b], broadcast(two));
        }
    }
    for (int b = 0; b < B; b++) {
        const std::int64_t p = slot + 16 * b;
        const Lanes scales = load(u.part<std::int32_t>(first, p, u.cache.key_scales) + p % u.cache.page_size);
        for (int t = 0; t < T; t++) store(u.score(first + t, p), scale_scores(acc[t][b], scales, u.rows[first + t]));
    }
}

// exp2_neg (integer.inl) of 16 gaps in Q16, as unsigned numbers. A fraction has 16 bits, so that products of 47 bits
// and their shift by 16 give the same; the next coefficient and half a unit are added before it.
inline Lanes exp2_neg_lanes(Lanes gap) {
    const Lanes fraction = low_halves(gap), other = high_words(fraction), whole = shift_unsigned<16>(gap);
    Lanes even = broadcast(-1014583), odd = even;
    const auto next = [](Lanes x, Lanes f, std::int64_t c) {
        return add_wide(multiply_low(x, f), broadcast_wide((c << 16) + (1 << 15)));
    };
    for (const std::int64_t c : {9884650, -59375086, 257891465, -744257403}) {
        even = shift_unsigned_wide<16>(next(even, fraction, c));
        odd = shift_unsigned_wide<16>(next(odd, other, c));
    }
    const Lanes acc = blend_words(shift_unsigned_wide<16>(next(even, fraction, 1073741824)),
                                  shift_left_wide<16>(next(odd, other, 1073741824)));
    const Lanes e = shift_unsigned<1>(add(shift_unsigned(add(acc, acc), whole), broadcast(1)));
    return keep(less(whole, broadcast(31)), e);
}

// Of 16 slots: those that a query sees, as bits.
inline std::uint32_t visible(const Query& q, std::int64_t slot) {
    const auto below = [&](std::int64_t end) {  // bits of the slots before `end`
        return (std::uint32_t{1} << smaller<std::int64_t>(larger<std::int64_t>(end - slot, 0), 16)) - 1;
    };
    const std::int64_t gap = slot - q.end;
    const std::uint64_t more = gap >= 64 || gap <= -16 ? 0 : gap >= 0 ? q.more >> gap : q.more << -gap;
    return (below(q.end) & ~below(q.first)) | (static_cast<std::uint32_t>(more) & 0xFFFF);
}

struct Every {};  // a mask that lets all pass
inline Lanes keep(Every, Lanes x) { return x; }
inline Lanes choose(Every, Lanes x, Lanes) { return x; }

// Calls f(slot, mask) for groups of 16 slots of which the query sees some.
template <class F> void by_visible(const Query& q, F f) {
    const std::int64_t begin = q.first / 16 * 16, last = end_of(q);
    const std::int64_t full = smaller((q.first + 15) / 16 * 16, last), rest = larger(q.end / 16 * 16, full);
    const auto some = [&](std::int64_t from, std::int64_t to) {
        for (std::int64_t p = from; p < to; p += 16)
            if (const std::uint32_t bits = visible(q, p)) f(p, mask_of(bits));
    };
    some(begin, full);
    for (std::int64_t p = full; p + 16 <= rest; p += 16) f(p, Every());
    some(rest, last);
}

// Scores of a query to weights of 12 bits, in place.
inline void soften(const Work& u, int i) {
    const Query& q = u.queries[i];
    QueryRow& row = u.rows[i];
    alignas(64) std::int32_t lanes[16];
    Lanes most = broadcast(-static_cast<std::int32_t>(kLimit));
    by_visible(q,
               [&](std::int64_t p, auto mask) { most = larger_lanes(most, choose(mask, load(u.score(i, p)), most)); });
    store(lanes, most);
    std::int32_t top = lanes[0];
    for (const std::int32_t x : lanes) top = larger(top, x);
    Lanes even = zero(), odd = zero(), bits = zero();
    const auto times_scale = [&](Lanes e, std::int64_t p, auto f) {
        const Lanes scale = load(u.part<std::int32_t>(i, p, u.cache.value_scales) + p % u.cache.page_size);
        f(multiply_low(e, scale), multiply_low(high_words(e), high_words(scale)));
    };
    by_visible(q, [&](std::int64_t p, auto mask) {
        const Lanes e = keep(mask, exp2_neg_lanes(subtract(broadcast(top), load(u.score(i, p)))));
        store(u.score(i, p), e);
        even = add_wide(even, low_words(e));
        odd = add_wide(odd, high_words(e));
        times_scale(e, p, [&](Lanes a, Lanes b) { bits = bit_or(bits, bit_or(a, b)); });
    });
    alignas(64) std::int64_t wides[8], all = 0;
    store(wides, bits);
    for (const std::int64_t x : wides) all |= x;
    store(wides, add_wide(even, odd));
    row.mass = 0;
    for (const std::int64_t x : wides) row.mass += x;
    // The largest product has as many bits as all together. It has 31 at least: the largest e is 2^30, a scale at
    // least 1.
    row.h = larger(bit_length(all) - 12, 1);
    const int drop = static_cast<int>(row.h) - 1;
    std::int64_t done = row.begin;
    const auto skip = [&](std::int64_t to) {
        for (; done < to; done += 16) __builtin_memset(u.weight(i, done), 0, 32);
    };
    by_visible(q, [&](std::int64_t p, auto) {
        skip(p);
        times_scale(load(u.score(i, p)), p, [&](Lanes a, Lanes b) {
            const Lanes twice =
                blend_words(shift_unsigned_wide(a, drop), shift_left_wide<32>(shift_unsigned_wide(b, drop)));
            const Lanes w = smaller_lanes(shift_unsigned<1>(add(twice, broadcast(1))), broadcast(4095));
            store_bytes(u.weight(i, p), bit_and(w, broadcast(127)));
            store_bytes(u.weight(i, p) + 16, shift_unsigned<7>(w));
        });
        done = p + 16;
    });
    skip(row.end);
}

// Adds weights times values of T queries for 16 * C elements from `column` on to the totals: the weights' low seven
// bits, then the rest where there are any, which is seldom.
template <int T, int C>
void mix_tile(const Work& u, int first, std::int64_t from, std::int64_t to, std::int64_t column) {
    const std::int64_t depth = u.cache.depth;
    Lanes acc[T][C];
    const auto clear = [&] {
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++) acc[t][c] = zero();
    };
    const auto add_four = [&](const std::int8_t* values, const std::uint8_t* weights) {
        Lanes v[C];
        for (int c = 0; c < C; c++) v[c] = load(values + 64 * c);
        for (int t = 0; t < T; t++) {
            std::int32_t four;
            __builtin_memcpy(&four, weights + t * 4 * u.stride, 4);
            for (int c = 0; c < C; c++) acc[t][c] = dot_codes(acc[t][c], broadcast(four), v[c]);
        }
    };
    const auto fold = [&](int shift) {
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++) {
                alignas(64) std::int32_t sums[16];
                store(sums, acc[t][c]);
                std::int64_t* totals = u.totals + (first + t) * depth + column + 16 * c;
                for (int i = 0; i < 16; i += kWide)
                    store_wide(totals + i, load_wide(totals + i) + (load_wide(sums + i) << shift));
            }
    };
    struct Four {
        const std::int8_t* values;
        const std::uint8_t* weights;
    } large[kSlots / 4];
    int count = 0;
    clear();
    for (std::int64_t p = from; p < to; p += 16) {
        const std::int8_t* values =
            u.part<std::int8_t>(first, p, u.cache.values) + p % u.cache.page_size * depth + 4 * column;
        const std::uint8_t* weights = u.weight(first, p);
        for (int j = 0; j < 4; j++) add_four(values + j * 4 * depth, weights + 4 * j);
        std::uint64_t rest[2] = {};
        for (int t = 0; t < T; t++)
            for (int i = 0; i < 2; i++) {
                std::uint64_t eight;
                __builtin_memcpy(&eight, weights + t * 4 * u.stride + 16 + 8 * i, 8);
                rest[i] |= eight;
            }
        for (int j = 0; j < 4; j++) {
            large[count] = {values + j * 4 * depth, weights + 16 + 4 * j};
            count += (rest[j / 2] >> (j % 2 * 32) & 0xFFFFFFFF) != 0;
        }
    }
    fold(0);
    if (count == 0) return;
    clear();
    for (int i = 0; i < count; i++) add_four(large[i].values, large[i].weights);
    fold(7);
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
           nullptr};
    u.totals = reinterpret_cast<std::int64_t*>(scratch + count * 64);
    u.scores = reinterpret_cast<std::int32_t*>(u.totals + count * depth);
    u.codes = reinterpret_cast<std::int16_t*>(u.scores + count * u.stride);
    for (int q = 0; q < count; q++) quantize_query(queries[q].x, width, depth, scale, u.codes + q * depth, u.rows[q]);
    by_tiles<kScoreRows>(u, [&](int a, int rows, std::int64_t from, std::int64_t to) {
        repeat<kScoreRows>([&]<int T>() {
            if (rows != T + 1) return;
            std::int64_t p = from;
            for (; p + 16 * kScoreBlocks <= to; p += 16 * kScoreBlocks) score_tile<T + 1, kScoreBlocks>(u, a, p);
            for (; p < to; p += 16) score_tile<T + 1, 1>(u, a, p);
        });
    });
    for (int q = 0; q < count; q++) u.rows[q].begin = last, u.rows[q].end = 0;
    by_tiles<kMixRows>(u, [&](int a, int rows, std::int64_t from, std::int64_t to) {
        for (int q = a; q < a + rows; q++) {
            u.rows[q].begin = smaller(u.rows[q].begin, from);
            u.rows[q].end = larger(u.rows[q].end, to);
        }
    });
    for (int q = 0; q < count; q++) soften(u, q);
    for (std::int64_t i = 0; i < count * depth; i++) u.totals[i] = 0;
    by_tiles<kMixRows>(u, [&](int a, int rows, std::int64_t from, std::int64_t to) {
        repeat<kMixRows>([&]<int T>() {
            if (rows != T + 1) return;
            std::int64_t d = 0;
            for (; d + 16 * kMixColumns <= depth; d += 16 * kMixColumns)
                mix_tile<T + 1, kMixColumns>(u, a, from, to, d);
            for (; d < depth; d += 16) mix_tile<T + 1, 1>(u, a, from, to, d);
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

// Unnormalised probabilities (section 10) of n logits, as Q30, and their sum.
void weights(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope, std::int32_t* out,
             std::int64_t* mass) {
    const std::int64_t limit = (std::int64_t{1} << 61) / slope;
    Wide sum{};
    by_wide(n, [&](std::int64_t i, auto count) {
        // Lanes beyond the end hold anything: clipped at 0, they stay within bounds, and drop out below.
        const Wide gap =
            smaller(larger(std::int64_t{largest} - load_wide(logits + i, count), Wide{}), all<Wide>(limit));
        Wide e = exp2_neg(round_shift_by<30>(gap * slope));
        if (count < kWide) e = first_of(e, count);
        store_wide(out + i, e, count);
        sum += e;
    });
    *mass = total_of(sum);
}
