// IQ2_XXS, IQ2_XS and IQ2_S: 8- to 10-bit indices of eight magnitudes 8, 25 or 43, separate signs, 4-bit scales.
namespace formats {

constexpr int16_t kIq2[16] = {51, 68, 86, 43, 35, 18, 0, 43, 43, 43, 43, 43, 43, 43, 43, 43};  // values + 43

// Sets codes 8 l to 8 l + 7 from the magnitudes of a codebook entry and the signs.
inline void put_eight(Codes& c, int l, uint32_t entry, uint32_t signs) {
    c[2 * l] = spread_pairs(entry) | spread(signs) << 2;
    c[2 * l + 1] = spread_pairs(entry >> 8) | spread(signs >> 4) << 2;
}

struct IQ2_XXS : Layout<256, 66, 3, 32, 43, 3> {
    static constexpr const int16_t* table = kIq2;
    static constexpr int fraction = 3;
    static int scale(const uint8_t* s, int b) { return 2 * (s[2 + 8 * b + 7] >> 4) + 1; }
    static Codes codes(const uint8_t* s, int part) {
        const uint8_t* q = s + 2 + 8 * part;
        const uint32_t signs = word(q, 1);
        Codes c;
        for (int l = 0; l < 4; l++) put_eight(c, l, kGridIQ2_XXS[q[l]], even_signs(signs >> 7 * l));
        return c;
    }
};

struct IQ2_XS : Layout<256, 74, 3, 16, 43, 3> {
    static constexpr const int16_t* table = kIq2;
    static constexpr int fraction = 3;
    static int scale(const uint8_t* s, int b) { return odd_scale(s + 66, b); }
    static Codes codes(const uint8_t* s, int part) {
        Codes c;
        for (int l = 0; l < 4; l++) {
            const uint32_t q = half_word(s + 2 + 8 * part + 2 * l);
            put_eight(c, l, kGridIQ2_XS[q & 511], even_signs(q >> 9));
        }
        return c;
    }
};

struct IQ2_S : Layout<256, 82, 3, 16, 43, 3> {
    static constexpr const int16_t* table = kIq2;
    static constexpr int fraction = 3;
    static int scale(const uint8_t* s, int b) { return odd_scale(s + 74, b); }
    static Codes codes(const uint8_t* s, int part) {
        Codes c;
        for (int l = 0; l < 4; l++) {
            const int at = 4 * part + l;
            put_eight(c, l, kGridIQ2_S[s[2 + at] | (s[66 + part] >> 2 * l & 3) << 8], s[34 + at]);
        }
        return c;
    }
};

}  // namespace formats
