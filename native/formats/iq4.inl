// IQ4_NL and IQ4_XS: 4-bit codes into a table of values; IQ4_XS has eight 6-bit scales, offset by 32, per block.
namespace formats {

constexpr int16_t kIq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};  // values + 128

struct IQ4_NL : Layout<32, 18, 4, 32, 128, 4> {
    static constexpr const int16_t* table = kIq4;
    static Codes codes(const uint8_t* s, int) { return nibble_halves(s + 2); }
};

struct IQ4_XS : Layout<256, 136, 4, 32, 128, 4> {
    static constexpr const int16_t* table = kIq4;
    static int scale(const uint8_t* s, int b) {
        const int low = s[4 + b / 2] >> (b % 2 * 4) & 15;
        return (low | (half_word(s + 2) >> 2 * b & 3) << 4) - 32;
    }
    static Codes codes(const uint8_t* s, int part) { return nibble_halves(s + 8 + 16 * part); }
};

}  // namespace formats
