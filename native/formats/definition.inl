// Building blocks of the block formats. A format is a struct that derives from Layout and has codes(s, part): the codes
// of the block at s, values 32 * part onwards; and, where they are not 1 and -1, scale(s, b) and minimum(s, b) of
// sub-block b. numerics/weight_formats/definition.py defines the same formats and documents their meaning.
namespace formats {

using std::int16_t;
using std::int8_t;
using std::uint16_t;
using std::uint32_t;
using std::uint8_t;

constexpr uint32_t kNibbles = 0x0f0f0f0f;
constexpr uint32_t kPairs = 0x03030303;
constexpr uint32_t kOnes = 0x01010101;

// 32 codes as bytes, four per word.
struct Codes {
    uint32_t words[8];
    uint32_t& operator[](int i) { return words[i]; }
    uint32_t operator[](int i) const { return words[i]; }
};

inline uint32_t word(const uint8_t* at, int index) {
    uint32_t value;
    std::memcpy(&value, at + 4 * index, sizeof value);
    return value;
}

inline uint16_t half_word(const uint8_t* at) {
    uint16_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// ScaleAt is negative if scales are powers of two stored as exponent bytes, MinimumAt if there are no minima.
template <int Values, int Bytes, int Bits, int Block, int Zero, int Shift, int ScaleAt = 0, int MinimumAt = -1>
struct Layout {
    static constexpr int values = Values, bytes = Bytes, bits = Bits, block = Block, zero = Zero, shift = Shift;
    static constexpr int scale_at = ScaleAt, minimum_at = MinimumAt, scale_count = Values / Block;
    static constexpr bool has_min = MinimumAt >= 0, powers_of_two = ScaleAt < 0;
    static constexpr int fraction = 0;                // scales count in units of 2^-fraction
    static constexpr const int16_t* table = nullptr;  // 16 entries
    static uint16_t scale_bits(const uint8_t* s) { return half_word(s + ScaleAt); }  // of the float16
    static int scale(const uint8_t*, int) { return 1; }
    static int minimum(const uint8_t*, int) { return -1; }
};

// Spreads four bits to the lowest bits of four bytes, and gathers them back.
inline uint32_t spread(uint32_t bits) { return (bits & 15) * 0x00204081u & kOnes; }
inline uint32_t gather(uint32_t bytes) { return ((bytes & kOnes) * 0x01020408u) >> 24 & 15; }

// The low nibbles of 16 bytes, then the high ones.
inline Codes nibble_halves(const uint8_t* packed) {
    Codes c;
    for (int i = 0; i < 4; i++) {
        const uint32_t q = word(packed, i);
        c[i] = q & kNibbles;
        c[i + 4] = q >> 4 & kNibbles;
    }
    return c;
}

// The field at `shift` in each of 32 bytes.
inline Codes fields(const uint8_t* packed, int shift, uint32_t mask) {
    Codes c;
    for (int i = 0; i < 8; i++) c[i] = word(packed, i) >> shift & mask;
    return c;
}

inline void add_fields(Codes& c, const uint8_t* packed, int shift, uint32_t mask, int to) {
    for (int i = 0; i < 8; i++) c[i] |= (word(packed, i) >> shift & mask) << to;
}

}  // namespace formats
