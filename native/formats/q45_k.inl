// Q4_K and Q5_K: 256 codes of 4 or 5 bits; 8 scales and 8 minima of 6 bits, scaled by two float16.
namespace formats {

// Reads the 6-bit scales and minima in bytes 4 to 15: four of each are contiguous, four are split over two places.
template <int Bytes, int Bits, int Zero, int Shift> struct SixBits : Layout<256, Bytes, Bits, 32, Zero, Shift, 0, 2> {
    static int scale(const uint8_t* s, int b) {
        const uint8_t* at = s + 4 + b % 4;
        return b < 4 ? at[0] & 63 : (at[8] & 15) | (at[0] >> 2 & 48);
    }
    static int minimum(const uint8_t* s, int b) {
        const uint8_t* at = s + 4 + b % 4;
        return b < 4 ? at[4] & 63 : at[8] >> 4 | (at[4] >> 2 & 48);
    }
};

struct Q4_K : SixBits<144, 4, 8, 0> {
    static Codes codes(const uint8_t* s, int part) { return fields(s + 16 + part / 2 * 32, part % 2 * 4, kNibbles); }
};

struct Q5_K : SixBits<176, 5, 16, 1> {
    static Codes codes(const uint8_t* s, int part) {
        Codes c = fields(s + 48 + part / 2 * 32, part % 2 * 4, kNibbles);
        add_fields(c, s + 16, part, kOnes, 4);
        return c;
    }
};

}  // namespace formats
