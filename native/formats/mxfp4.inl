// MXFP4: 32 4-bit floats (E2M1) with a power-of-two scale.
namespace formats {

constexpr int16_t kFp4[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};  // doubled values + 12

struct MXFP4 : Layout<32, 17, 4, 32, 12, 1, -1> {
    static constexpr const int16_t* table = kFp4;
    static int scale(const uint8_t* s, int) { return s[0]; }
    static Codes codes(const uint8_t* s, int) { return nibble_halves(s + 1); }
};

}  // namespace formats
