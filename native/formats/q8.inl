// Q8_0: 32 signed bytes with a float16 scale.
namespace formats {

struct Q8_0 : Layout<32, 34, 8, 32, 128, 4> {
    static Codes codes(const uint8_t* s, int) {
        Codes c;
        for (int i = 0; i < 8; i++) c[i] = word(s + 2, i) ^ 0x80808080u;
        return c;
    }
};

}  // namespace formats
