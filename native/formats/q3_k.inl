// Q3_K: 256 3-bit codes, the third bits stored separately; 16 6-bit scales, offset by 32, scaled by a float16.
namespace formats {

struct Q3_K : Layout<256, 110, 3, 16, 4, 0, 108> {
    static int scale(const uint8_t* s, int b) {
        const int low = s[96 + b % 8] >> (b / 8 * 4) & 15;
        const int high = s[104 + b % 4] >> (b / 4 * 2) & 3;
        return (low | high << 4) - 32;
    }
    static Codes codes(const uint8_t* s, int part) {
        Codes c = fields(s + 32 + part / 4 * 32, part % 4 * 2, kPairs);
        add_fields(c, s, part, kOnes, 2);
        return c;
    }
};

}  // namespace formats
