// IQ3_XXS and IQ3_S: 8- or 9-bit indices of four magnitudes with eight levels, separate signs, 4-bit scales.
namespace formats {

// The values of IQ3_XXS divided by 2, plus 31, and those of IQ3_S, plus 15.
constexpr int16_t kIq3Xxs[16] = {33, 37, 41, 45, 49, 53, 57, 62, 29, 25, 21, 17, 13, 9, 5, 0};
constexpr int16_t kIq3S[16] = {16, 18, 20, 22, 24, 26, 28, 30, 14, 12, 10, 8, 6, 4, 2, 0};

struct IQ3_XXS : Layout<256, 98, 4, 32, 31, 2> {
    static constexpr const int16_t* table = kIq3Xxs;
    static constexpr int fraction = 1;
    static int scale(const uint8_t* s, int b) { return 2 * (s[66 + 4 * b + 3] >> 4) + 1; }
    static Codes codes(const uint8_t* s, int part) {
        const uint32_t packed = word(s + 66, part);
        Codes c;
        for (int g = 0; g < 8; g++) {
            const uint32_t signs = even_signs(packed >> g / 2 * 7) >> g % 2 * 4;
            c[g] = spread_nibbles(kGridIQ3_XXS[s[2 + 8 * part + g]]) | spread(signs) << 3;
        }
        return c;
    }
};

struct IQ3_S : Layout<256, 110, 4, 32, 15, 1> {
    static constexpr const int16_t* table = kIq3S;
    static int scale(const uint8_t* s, int b) { return odd_scale(s + 106, b); }
    static Codes codes(const uint8_t* s, int part) {
        Codes c;
        for (int g = 0; g < 8; g++) {
            const int index = s[2 + 8 * part + g] | (s[66 + part] >> g & 1) << 8;
            const uint32_t signs = s[74 + 4 * part + g / 2] >> g % 2 * 4;
            c[g] = spread_nibbles(kGridIQ3_S[index]) | spread(signs) << 3;
        }
        return c;
    }
};

}  // namespace formats
