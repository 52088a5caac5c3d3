// IQ1_S: eight values of -1, 0 or 1 an index of 11 bits, all moved by an eighth up or down in each block of 32.
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

}  // namespace formats
