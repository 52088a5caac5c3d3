// Q2_K: 256 2-bit codes; 16 scales and 16 minima of 4 bits, scaled by two float16.
namespace formats {

struct Q2_K : Layout<256, 84, 2, 16, 2, 0, 80, 82> {
    static int scale(const uint8_t* s, int b) { return s[b] & 15; }
    static int minimum(const uint8_t* s, int b) { return s[b] >> 4; }
    static Codes codes(const uint8_t* s, int part) { return fields(s + 16 + part / 4 * 32, part % 4 * 2, kPairs); }
};

}  // namespace formats
