// Scales and minima expanded from their factors (weight.h); matrix products read them like stored ones.

// Pairs of blocks that cover 256 inputs, the fewest that share a group's sum (docs/spec/numerics.md, section 4).
template <int BLOCK> constexpr int kGroupPairs = 128 / BLOCK;

// Expands `count` pairs of a panel, starting at pair p, to [count][16][2].
__attribute__((noinline)) void multiply_factors(const Factored& from, std::int64_t pairs, std::int64_t panel,
                                                std::int64_t p, std::int64_t count, std::int16_t* to) {
    const std::int8_t* fine = from.fine == nullptr ? nullptr : from.fine + (panel * pairs + p) * 32;
    const std::int16_t* runs = from.coarse + panel * from.runs * 16;
    std::int64_t run = -1;
    Lanes coarse{};
    for (std::int64_t k = 0; k < count; k++, to += 32) {
        if (const std::int64_t at = (p + k) >> from.span; at != run) {
            run = at;
            const Lanes each = widen_unsigned16(runs + run * 16);
            coarse = bit_or(each, shift_left<16>(each));
        }
        if (fine == nullptr) {
            store(to, coarse);
        } else {
            store(to, multiply_halves(coarse, widen_signed8(fine + k * 32)));
            if (k % 2 == 0) __builtin_prefetch(fine + k * 32 + 512, 0, 3);
        }
    }
}

// Returns pairs p..p + count - 1 of a panel: as stored if plain, otherwise expanded into `room`.
INTACT_INLINE inline const std::int16_t* numbers_of(const Factored& from, std::int64_t pairs, std::int64_t panel,
                                                    std::int64_t p, std::int64_t count, std::int16_t* room) {
    if (from.plain != nullptr) [[likely]]
        return from.plain + (panel * pairs + p) * 32;
    multiply_factors(from, pairs, panel, p, count, room);
    return room;
}
