// Microbenchmarks of the multipliers and the memory, with which a profile is compared.

constexpr int kChains = kMaxRows * kMaxPanels >= 6 ? 12 : 2;  // sums that fit the registers

// Multiplies codes by signed bytes, all in registers or the first-level cache; returns the number of products.
std::int64_t multiply_adds(const std::uint8_t* codes, std::int64_t rounds, std::int32_t* out) {
    Lanes acc[kChains];
    for (int c = 0; c < kChains; c++) acc[c] = broadcast(c);
    const Lanes x = load(codes);
    for (std::int64_t i = 0; i < rounds; i++) {
        const Lanes line = load(codes + 64 * (i % 16));
        for (int c = 0; c < kChains; c++) acc[c] = dot_codes(acc[c], line, x);
    }
    for (int c = 1; c < kChains; c++) acc[0] = add(acc[0], acc[c]);
    store(out, acc[0]);
    return rounds * kChains * 64;
}

// Reads the given number of bytes, a multiple of 256.
void read_bytes(const std::uint8_t* from, std::int64_t bytes, std::int32_t* out) {
    Lanes acc[4] = {zero(), zero(), zero(), zero()};
    for (std::int64_t i = 0; i < bytes; i += 256)
        for (int c = 0; c < 4; c++) acc[c] = add(acc[c], load(from + i + 64 * c));
    store(out, add(add(acc[0], acc[1]), add(acc[2], acc[3])));
}
