// Draws (docs/numerics.md, section 10): passes over a whole row of logits.

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
