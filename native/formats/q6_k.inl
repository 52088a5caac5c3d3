// Q6_K: 256 6-bit codes, the top two bits stored separately; 16 signed 8-bit scales, scaled by a float16.
namespace formats {

struct Q6_K : Layout<256, 210, 6, 16, 32, 2, 208> {
    static int scale(const uint8_t* s, int b) { return static_cast<int8_t>(s[192 + b]); }
    static Codes codes(const uint8_t* s, int part) {
        const int chunk = part / 4, field = part % 4;
        Codes c = fields(s + chunk * 64 + field % 2 * 32, field / 2 * 4, kNibbles);
        add_fields(c, s + 128 + chunk * 32, field * 2, kPairs, 4);
        return c;
    }
};

}  // namespace formats
