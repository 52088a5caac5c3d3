// Q5_0 and Q5_1: like Q4_0 and Q4_1, with the fifth bit of each code stored separately.
namespace formats {

inline Codes five_bits(const uint8_t* high, const uint8_t* low) {
    Codes c = nibble_halves(low);
    const uint32_t bits = word(high, 0);
    for (int g = 0; g < 8; g++) c[g] |= spread(bits >> 4 * g) << 4;
    return c;
}

struct Q5_0 : Layout<32, 22, 5, 32, 16, 1> {
    static Codes codes(const uint8_t* s, int) { return five_bits(s + 2, s + 6); }
};

struct Q5_1 : Layout<32, 24, 5, 32, 16, 1, 0, 2> {
    static Codes codes(const uint8_t* s, int) { return five_bits(s + 4, s + 8); }
};

}  // namespace formats
