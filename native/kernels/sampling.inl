// Draws (docs/spec/numerics.md, section 10): passes over a whole row of logits.

#if defined(__AVX2__)

std::int32_t peaks(const std::int32_t* logits, std::int64_t n, std::int32_t* out) {
    Lanes most = broadcast(INT32_MIN);
    for (std::int64_t from = 0; from < n; from += kPeakRun, out += kPeakLanes) {
        const std::int64_t end = smaller(from + kPeakRun, n);
        Lanes run = broadcast(INT32_MIN);
        std::int64_t i = from;
        for (; i + 16 <= end; i += 16) run = larger_of(run, load(logits + i));
        if (i < end) {
            std::int32_t last[16];
            for (int lane = 0; lane < 16; lane++) last[lane] = i + lane < end ? logits[i + lane] : INT32_MIN;
            run = larger_of(run, load(last));
        }
        store(out, run);
        most = larger_of(most, run);
    }
    std::int32_t all[16], largest = INT32_MIN;
    store(all, most);
    for (const std::int32_t x : all) largest = larger(largest, x);
    return largest;
}

std::int64_t above(const std::int32_t* logits, std::int64_t n, std::int32_t least, std::int32_t* places) {
    const Lanes bound = broadcast(least);
    std::int64_t count = 0, i = 0;
    for (; i + 16 <= n; i += 16)
        for (std::uint32_t bits = reaches(load(logits + i), bound); bits; bits &= bits - 1)
            places[count++] = static_cast<std::int32_t>(i) + __builtin_ctz(bits);
    for (; i < n; i++)
        if (logits[i] >= least) places[count++] = static_cast<std::int32_t>(i);
    return count;
}

std::int64_t compress(const std::int32_t* logits, std::int64_t n, const std::uint32_t* bits, std::int32_t* to,
                      std::int32_t* places) {
    alignas(64) static constexpr std::int32_t kOrder[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const Lanes order = load(kOrder);
    std::int64_t count = 0, i = 0;
    for (; i + 16 <= n; i += 16) {
        const std::uint32_t some = bits[i / 32] >> i % 32 & 0xFFFF;
        if (!some) continue;
        pack(to + count, load(logits + i), some);
        pack(places + count, add(order, broadcast(static_cast<std::int32_t>(i))), some);
        count += __builtin_popcount(some);
    }
    for (; i < n; i++)
        if (bits[i / 32] >> i % 32 & 1) {
            to[count] = logits[i];
            places[count++] = static_cast<std::int32_t>(i);
        }
    return count;
}

// 2^-t for t = gap * slope, as in `weights`: the polynomial on even and odd lanes separately, the rest on all lanes.
// For slopes of 2^32 and more, gaps are so small that the products still fit.
template <bool STEEP> Lanes exp2_neg_gap(Lanes gap, Lanes slope, Lanes slope_high) {
    const Lanes odd_gap = pair_right<32>(gap), half = broadcast_pair(std::int64_t{1} << 29);
    Lanes even = pair_product_unsigned(gap, slope), odd = pair_product_unsigned(odd_gap, slope);
    if (STEEP) {
        even = pair_add(even, pair_left<32>(pair_product_unsigned(gap, slope_high)));
        odd = pair_add(odd, pair_left<32>(pair_product_unsigned(odd_gap, slope_high)));
    }
    const Lanes t = low_and_high(pair_right<30>(pair_add(even, half)), pair_left<2>(pair_add(odd, half)));
    const Lanes fraction = bits_of(t, broadcast(0xFFFF)), odd_fraction = pair_right<32>(fraction);  // Q16
    even = odd = broadcast(-1014583);
    const auto step = [&](std::int64_t c) {  // a rounded shift by 16 is left to be done, and its low half counts
        const Lanes more = broadcast_pair((std::int64_t{1} << 15) + c * (std::int64_t{1} << 16));
        even = pair_add(pair_product(even, fraction), more);
        odd = pair_add(pair_product(odd, odd_fraction), more);
    };
    for (const std::int64_t c : {9884650, -59375086, 257891465, -744257403}) {
        step(c);
        even = pair_right<16>(even);
        odd = pair_right<16>(odd);
    }
    step(1073741824);
    const Lanes acc = low_and_high(pair_right<16>(even), pair_left<16>(odd)), ones = broadcast(1);
    const Lanes whole = shift_right<16>(t), round = shift_right<1>(shift_left_each(ones, whole));
    return shift_right_each(add(acc, round), whole);
}

template <bool STEEP>
std::int64_t masses_of(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope,
                       std::uint32_t limit, std::uint32_t beyond, std::int64_t* sums) {
    const Lanes top = broadcast(largest), bound = broadcast(static_cast<std::int32_t>(limit));
    const Lanes far = broadcast(static_cast<std::int32_t>(beyond));
    const Lanes low = broadcast_pair(slope & 0xFFFFFFFF), high = broadcast_pair(slope >> 32);
    const Lanes low_half = broadcast_pair(0xFFFFFFFF);
    alignas(64) std::int32_t gaps[kMassRun + 16];
    std::int64_t mass = 0;
    for (std::int64_t from = 0; from < n; from += kMassRun) {
        const std::int64_t end = smaller(from + kMassRun, n);
        std::int64_t count = 0, i = from;
        for (; i + 16 <= end; i += 16) {
            const Lanes gap = subtract(top, load(logits + i));
            const std::uint32_t bits = below_unsigned(gap, bound);
            pack(gaps + count, gap, bits);
            count += __builtin_popcount(bits);
        }
        for (; i < end; i++) {
            const std::uint32_t gap = static_cast<std::uint32_t>(largest) - static_cast<std::uint32_t>(logits[i]);
            gaps[count] = static_cast<std::int32_t>(gap);
            count += gap < limit;
        }
        store(gaps + count, far);
        Lanes sum = zero();
        for (i = 0; i < count; i += 16) {
            const Lanes e = exp2_neg_gap<STEEP>(load(gaps + i), low, high);
            sum = pair_add(sum, pair_add(bits_of(e, low_half), pair_right<32>(e)));
        }
        std::int64_t parts[8], total = 0;
        store(parts, sum);
        for (const std::int64_t part : parts) total += part;
        mass += * sums++ = total;
    }
    return mass;
}

std::int64_t masses(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope,
                    std::int64_t* sums) {
    // From a gap of `limit` onwards a weight is 0; the formula gives 0 at `beyond`, whose exponent is 32.
    const std::int64_t limit = ((std::int64_t{31} << 46) - (std::int64_t{1} << 29) + slope - 1) / slope;
    const std::int64_t beyond = (std::int64_t{32} << 46) / slope + 1;
    const auto masses_with = slope >> 32 ? masses_of<true> : masses_of<false>;
    return masses_with(logits, n, largest, slope, static_cast<std::uint32_t>(smaller<std::int64_t>(limit, UINT32_MAX)),
                       static_cast<std::uint32_t>(smaller<std::int64_t>(beyond, UINT32_MAX)), sums);
}

#else

std::int32_t peaks(const std::int32_t* logits, std::int64_t n, std::int32_t* out) {
    std::int32_t most = INT32_MIN;
    for (std::int64_t from = 0; from < n; from += kPeakRun, out += kPeakLanes) {
        const std::int64_t end = smaller(from + kPeakRun, n);
        for (std::int64_t lane = 0; lane < kPeakLanes; lane++) out[lane] = INT32_MIN;
        for (std::int64_t i = from; i < end; i++)
            out[(i - from) % kPeakLanes] = larger(out[(i - from) % kPeakLanes], logits[i]);
        for (std::int64_t lane = 0; lane < kPeakLanes; lane++) most = larger(most, out[lane]);
    }
    return most;
}

std::int64_t above(const std::int32_t* logits, std::int64_t n, std::int32_t least, std::int32_t* places) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < n; i++)
        if (logits[i] >= least) places[count++] = static_cast<std::int32_t>(i);
    return count;
}

std::int64_t compress(const std::int32_t* logits, std::int64_t n, const std::uint32_t* bits, std::int32_t* to,
                      std::int32_t* places) {
    std::int64_t count = 0;
    for (std::int64_t w = 0; 32 * w < n; w++)
        for (std::uint32_t word = bits[w]; word; word &= word - 1) {
            const auto i = static_cast<std::int32_t>(32 * w) + __builtin_ctz(word);
            to[count] = logits[i];
            places[count++] = i;
        }
    return count;
}

std::int64_t masses(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope,
                    std::int64_t* sums) {
    const std::int64_t limit = (std::int64_t{1} << 61) / slope;
    std::int64_t mass = 0;
    for (std::int64_t from = 0; from < n; from += kMassRun) {
        Wide sum{};
        by_wide(smaller(kMassRun, n - from), [&](std::int64_t i, auto count) {
            const Wide gap =
                smaller(larger(std::int64_t{largest} - load_wide(logits + from + i, count), Wide{}), all<Wide>(limit));
            Wide e = exp2_neg(round_shift_by<30>(gap * slope));
            if (count < kWide) e = first_of(e, count);
            sum += e;
        });
        mass += * sums++ = total_of(sum);
    }
    return mass;
}

#endif
