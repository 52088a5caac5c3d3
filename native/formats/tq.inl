// TQ1_0 and TQ2_0: 256 ternary codes with a float16 scale; TQ1_0 packs five into a byte.
namespace formats {

struct TQ1_0 : Layout<256, 54, 2, 32, 1, 0, 52> {
    // Extracts the base-3 digits of the given power from `count` fixed-point bytes.
    static void trits(uint8_t* out, const uint8_t* packed, int count, int power) {
        constexpr uint8_t powers[5] = {1, 3, 9, 27, 81};
        for (int k = 0; k < count; k++) {
            const auto fraction = static_cast<uint8_t>(packed[k] * powers[power]);
            out[k] = static_cast<uint8_t>(fraction * 3 >> 8);
        }
    }
    static Codes codes(const uint8_t* s, int part) {
        uint8_t c[32];
        if (part < 5) {
            trits(c, s, 32, part);
        } else if (part < 7) {
            for (int h = 0; h < 2; h++) trits(c + 16 * h, s + 32, 16, (part - 5) * 2 + h);
        } else {
            trits(c, s + 32, 16, 4);
            for (int power = 0; power < 4; power++) trits(c + 16 + 4 * power, s + 48, 4, power);
        }
        Codes codes;
        std::memcpy(&codes, c, sizeof codes);
        return codes;
    }
};

struct TQ2_0 : Layout<256, 66, 2, 32, 1, 0, 64> {
    static Codes codes(const uint8_t* s, int part) { return fields(s + part / 4 * 32, part % 4 * 2, kPairs); }
};

}  // namespace formats
