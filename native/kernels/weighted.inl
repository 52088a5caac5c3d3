// Sums of rows times factors, exact in 64 bits.

void weighted_sum(const std::int32_t* const* rows, const std::int32_t* factors, std::int64_t count, std::int64_t width,
                  std::int64_t* out) {
    const auto some = [&]<int N>(std::int64_t i, auto columns) INTACT_INLINE {
        Sums sums[N]{};
        for (std::int64_t r = 0; r < count; r++) {
            const Split factor = split_all(factors[r]);
            INTACT_UNROLLED(j, N)
            sums[j] = add_products(sums[j], split(load_narrow(rows[r] + i + j * kNarrow, columns)), factor);
        }
        INTACT_UNROLLED(j, N) {
            std::int64_t all[kNarrow];
            store_sums(columns == kNarrow ? out + i + j * kNarrow : all, sums[j]);
            if (columns < kNarrow) __builtin_memcpy(out + i, all, static_cast<std::size_t>(columns) * 8);
        }
    };
    constexpr std::int64_t kSome = 2;
    const std::int64_t most = width / (kSome * kNarrow) * (kSome * kNarrow);
    for (std::int64_t i = 0; i < most; i += kSome * kNarrow)
        some.template operator()<kSome>(i, std::integral_constant<std::int64_t, kNarrow>());
    by_narrow(width - most, [&](std::int64_t i, auto columns) { some.template operator()<1>(most + i, columns); });
}
