// Q4_0 and Q4_1: 32 4-bit codes with a float16 scale; Q4_1 also has a float16 minimum, which is added.
namespace formats {

struct Q4_0 : Layout<32, 18, 4, 32, 8, 0> {
    static Codes codes(const uint8_t* s, int) { return nibble_halves(s + 2); }
};

struct Q4_1 : Layout<32, 20, 4, 32, 8, 0, 0, 2> {
    static Codes codes(const uint8_t* s, int) { return nibble_halves(s + 4); }
};

}  // namespace formats
