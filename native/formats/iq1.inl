// IQ1_S and IQ1_M: an 11-bit index selects eight values of -1, 0 or 1, which are shifted up or down by an eighth: in
// IQ1_S all values of a block of 32 in the same direction, in IQ1_M each group of eight.
namespace formats {

constexpr int16_t kIq1[16] = {2, 10, 18, 9, 0, 8, 16, 9, 9, 9, 9, 9, 9, 9, 9, 9};  // eighths + 9

struct IQ1_S : Layout<256, 50, 3, 32, 9, 1> {
    static constexpr const int16_t* table = kIq1;
    static constexpr int fraction = 3;
    static int scale(const uint8_t* s, int b) { return 2 * (half_word(s + 34 + 2 * b) >> 12 & 7) + 1; }
    static Codes codes(const uint8_t* s, int part) {
        const int high = half_word(s + 34 + 2 * part);
        const uint32_t down = (high >> 15) * (kOnes << 2);
        Codes c;
        for (int l = 0; l < 4; l++) {
            const int entry = kGridIQ1_S[s[2 + 4 * part + l] | (high >> 3 * l & 7) << 8];
            c[2 * l] = spread_pairs(entry) | down;
            c[2 * l + 1] = spread_pairs(entry >> 8) | down;
        }
        return c;
    }
};

struct IQ1_M : Layout<256, 56, 3, 16, 9, 1, 48> {
    static constexpr const int16_t* table = kIq1;
    static constexpr int fraction = 3;
    static uint16_t scale_bits(const uint8_t* s) {
        int bits = 0;
        for (int i = 0; i < 4; i++) bits |= (half_word(s + 48 + 2 * i) >> 12) << 4 * i;
        return static_cast<uint16_t>(bits);
    }
    static int scale(const uint8_t* s, int b) { return 2 * (half_word(s + 48 + b / 4 * 2) >> b % 4 * 3 & 7) + 1; }
    static Codes codes(const uint8_t* s, int part) {
        Codes c;
        for (int l = 0; l < 4; l++) {
            const int high = s[32 + 2 * part + l / 2] >> l % 2 * 4;
            const int entry = kGridIQ1_S[s[4 * part + l] | (high & 7) << 8];
            const uint32_t down = (high >> 3 & 1) * (kOnes << 2);
            c[2 * l] = spread_pairs(entry) | down;
            c[2 * l + 1] = spread_pairs(entry >> 8) | down;
        }
        return c;
    }
};

}  // namespace formats
