// Values of stored weights as float32, as ggml's reference computes them: a product of scale and code is one rounded
// multiplication, a minimum one rounded addition or subtraction.
inline float from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }

inline uint16_t read16(const uint8_t* p) {
    uint16_t x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

// float16, exactly, on a number or a vector; no subnormal float enters an operation, for some processors are slow at
// them.
template <class Float, class Word> inline Float half_of(Word h) {
    const Word magnitude = (h & 0x7fffu) << 13;
    const Word exponent = magnitude & 0x0f800000u;
    const Word subnormal = __builtin_bit_cast(Word, __builtin_bit_cast(Float, magnitude + 0x38800000u) - 0x1p-14f);
    const Word normal = magnitude + 0x38000000u;
    const Word infinite = magnitude + 0x70000000u;
    const Word positive = exponent == 0u ? subnormal : (exponent == 0x0f800000u ? infinite : normal);
    return __builtin_bit_cast(Float, positive | (h & 0x8000u) << 16);
}
inline float half(const uint8_t* p) { return half_of<float>(uint32_t{read16(p)}); }

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kFp4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// y[i] = scale * (code - zero) for 16 low nibbles, then 16 high ones; five-bit codes have their top bit in `high`.
inline void nibbles(const uint8_t* codes, uint32_t high, int zero, float scale, float* y) {
    for (int i = 0; i < 16; i++) {
        const int low_code = (codes[i] & 15) | static_cast<int>((high >> i & 1) << 4);
        const int high_code = (codes[i] >> 4) | static_cast<int>((high >> (i + 16) & 1) << 4);
        y[i] = scale * static_cast<float>(low_code - zero);
        y[i + 16] = scale * static_cast<float>(high_code - zero);
    }
}

inline void looked_up(const uint8_t* codes, const int8_t* table, float scale, float* y) {
    for (int i = 0; i < 16; i++) {
        y[i] = scale * static_cast<float>(table[codes[i] & 15]);
        y[i + 16] = scale * static_cast<float>(table[codes[i] >> 4]);
    }
}

inline void decode_q2_k(const uint8_t* b, float* y) {
    const float d = half(b + 80), least = half(b + 82);
    for (int s = 0; s < 16; s++) {
        const float scale = d * static_cast<float>(b[s] & 15), minimum = least * static_cast<float>(b[s] >> 4);
        const uint8_t* codes = b + 16 + s / 8 * 32 + s % 2 * 16;
        const int shift = s / 2 % 4 * 2;
        for (int i = 0; i < 16; i++) y[16 * s + i] = scale * static_cast<float>(codes[i] >> shift & 3) - minimum;
    }
}

inline void decode_q3_k(const uint8_t* b, float* y) {
    const float d = half(b + 108);
    const uint8_t* packed = b + 96;
    for (int s = 0; s < 16; s++) {
        const int low = packed[s % 8] >> (s / 8 * 4) & 15, top = packed[8 + s % 4] >> (s / 4 * 2) & 3;
        const float scale = d * static_cast<float>((low | top << 4) - 32);
        const uint8_t* codes = b + 32 + s / 8 * 32 + s % 2 * 16;
        const uint8_t* high = b + s % 2 * 16;
        const int shift = s / 2 % 4 * 2;
        for (int i = 0; i < 16; i++) {
            const int code = (codes[i] >> shift & 3) | (high[i] >> (s / 2) & 1) << 2;
            y[16 * s + i] = scale * static_cast<float>(code - 4);
        }
    }
}

// Q4_K (high null) and Q5_K.
inline void decode_q45_k(const uint8_t* b, const uint8_t* high, const uint8_t* codes, float* y) {
    const float d = half(b), least = half(b + 2);
    const uint8_t* packed = b + 4;
    for (int s = 0; s < 8; s++) {
        const int q = s % 4;
        const int scale_code = s < 4 ? packed[q] & 63 : (packed[8 + q] & 15) | (packed[q] >> 6) << 4;
        const int minimum_code = s < 4 ? packed[4 + q] & 63 : packed[8 + q] >> 4 | (packed[4 + q] >> 6) << 4;
        const float scale = d * static_cast<float>(scale_code), minimum = least * static_cast<float>(minimum_code);
        const uint8_t* line = codes + s / 2 * 32;
        const int shift = s % 2 * 4;
        if (high == nullptr) {
            for (int i = 0; i < 32; i++) y[32 * s + i] = scale * static_cast<float>(line[i] >> shift & 15) - minimum;
        } else {
            for (int i = 0; i < 32; i++) {
                const int code = (line[i] >> shift & 15) | (high[i] >> s & 1) << 4;
                y[32 * s + i] = scale * static_cast<float>(code) - minimum;
            }
        }
    }
}

inline void decode_q6_k(const uint8_t* b, float* y) {
    const float d = half(b + 208);
    for (int s = 0; s < 16; s++) {
        const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + s]));
        const uint8_t* low = b + s / 8 * 64 + s % 4 * 16;
        const uint8_t* high = b + 128 + s / 8 * 32 + s % 2 * 16;
        const int low_shift = s / 4 % 2 * 4, high_shift = s / 2 % 4 * 2;
        for (int i = 0; i < 16; i++) {
            const int code = (low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
            y[16 * s + i] = scale * static_cast<float>(code - 32);
        }
    }
}

inline void decode_iq4_xs(const uint8_t* b, float* y) {
    const float d = half(b);
    const uint32_t high = read16(b + 2);
    for (int s = 0; s < 8; s++) {
        const int code = (b[4 + s / 2] >> (s % 2 * 4) & 15) | static_cast<int>(high >> (2 * s) & 3) << 4;
        looked_up(b + 8 + 16 * s, kIq4Values, d * static_cast<float>(code - 32), y + 32 * s);
    }
}

// Base-3 digits, most significant first: digit `power` of `count` fixed-point bytes.
inline float* trits(const uint8_t* bytes, int count, int digits, float scale, float* y) {
    uint8_t power = 1;
    for (int digit = 0; digit < digits; digit++, power = static_cast<uint8_t>(power * 3)) {
        for (int i = 0; i < count; i++) {
            const int code = static_cast<uint8_t>(bytes[i] * power) * 3 >> 8;
            *y++ = scale * static_cast<float>(code - 1);
        }
    }
    return y;
}

inline void decode_tq1_0(const uint8_t* b, float* y) {
    const float d = half(b + 52);
    y = trits(b, 32, 5, d, y);
    y = trits(b + 32, 16, 5, d, y);
    trits(b + 48, 4, 4, d, y);
}

inline void decode_tq2_0(const uint8_t* b, float* y) {
    const float d = half(b + 64);
    for (int s = 0; s < 8; s++) {
        const uint8_t* codes = b + s / 4 * 32;
        for (int i = 0; i < 32; i++) y[32 * s + i] = d * static_cast<float>((codes[i] >> (s % 4 * 2) & 3) - 1);
    }
}

inline void decode_mxfp4(const uint8_t* b, float* y) {
    const uint32_t exponent = b[0];
    const float scale = from_bits(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
    looked_up(b + 1, kFp4Doubled, scale, y);
}

typedef uint16_t Halves __attribute__((vector_size(kWidth * 2)));

inline void decode_f16(const uint8_t* b, int64_t count, float* y) {
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) {
        Halves halves;
        std::memcpy(&halves, b + 2 * i, sizeof halves);
#if defined(__AVX512F__)
        store(y + i, (Vector)_mm512_maskz_cvtph_ps(0xffff, (__m256i)halves));
#else
        store(y + i, half_of<Vector>(__builtin_convertvector(halves, Bits)));
#endif
    }
    for (; i < count; i++) y[i] = half(b + 2 * i);
}

// `count` values from the start of a block on; whole blocks, but for the float kinds.
inline void decode(FloatKind kind, const uint8_t* b, int64_t count, float* y) {
    const auto each_block = [&](int values, int bytes, auto f) {
        for (int64_t i = 0; i < count; i += values, b += bytes) f(b, y + i);
    };
    const auto offset = [](float* y, int n, float minimum) {
        for (int i = 0; i < n; i++) y[i] = y[i] + minimum;
    };
    switch (kind) {
        case FloatKind::kF32:
            std::memcpy(y, b, static_cast<std::size_t>(count) * 4);
            return;
        case FloatKind::kF16:
            decode_f16(b, count, y);
            return;
        case FloatKind::kBF16:
            for (int64_t i = 0; i < count; i++) y[i] = from_bits(static_cast<uint32_t>(read16(b + 2 * i)) << 16);
            return;
        case FloatKind::kQ4_0:
            each_block(32, 18, [](const uint8_t* p, float* v) { nibbles(p + 2, 0, 8, half(p), v); });
            return;
        case FloatKind::kQ4_1:
            each_block(32, 20, [&](const uint8_t* p, float* v) {
                nibbles(p + 4, 0, 0, half(p), v);
                offset(v, 32, half(p + 2));
            });
            return;
        case FloatKind::kQ5_0:
            each_block(32, 22, [](const uint8_t* p, float* v) {
                nibbles(p + 6, read16(p + 2) | static_cast<uint32_t>(read16(p + 4)) << 16, 16, half(p), v);
            });
            return;
        case FloatKind::kQ5_1:
            each_block(32, 24, [&](const uint8_t* p, float* v) {
                nibbles(p + 8, read16(p + 4) | static_cast<uint32_t>(read16(p + 6)) << 16, 0, half(p), v);
                offset(v, 32, half(p + 2));
            });
            return;
        case FloatKind::kQ8_0:
            each_block(32, 34, [](const uint8_t* p, float* v) {
                const float d = half(p);
                for (int i = 0; i < 32; i++) v[i] = d * static_cast<float>(static_cast<int8_t>(p[2 + i]));
            });
            return;
        case FloatKind::kQ2_K:
            each_block(256, 84, decode_q2_k);
            return;
        case FloatKind::kQ3_K:
            each_block(256, 110, decode_q3_k);
            return;
        case FloatKind::kQ4_K:
            each_block(256, 144, [](const uint8_t* p, float* v) { decode_q45_k(p, nullptr, p + 16, v); });
            return;
        case FloatKind::kQ5_K:
            each_block(256, 176, [](const uint8_t* p, float* v) { decode_q45_k(p, p + 16, p + 48, v); });
            return;
        case FloatKind::kQ6_K:
            each_block(256, 210, decode_q6_k);
            return;
        case FloatKind::kIQ4_NL:
            each_block(32, 18, [](const uint8_t* p, float* v) { looked_up(p + 2, kIq4Values, half(p), v); });
            return;
        case FloatKind::kIQ4_XS:
            each_block(256, 136, decode_iq4_xs);
            return;
        case FloatKind::kTQ1_0:
            each_block(256, 54, decode_tq1_0);
            return;
        case FloatKind::kTQ2_0:
            each_block(256, 66, decode_tq2_0);
            return;
        case FloatKind::kMXFP4:
            each_block(32, 17, decode_mxfp4);
            return;
    }
}

// Columns k to k + count - 1 of a row; k at the start of a block.
inline void decode_part(FloatKind kind, const uint8_t* source, int64_t columns, int64_t row, int64_t k, int64_t count,
                        float* y) {
    const FloatFormat& format = float_format(kind);
    decode(kind, source + (row * columns + k) / format.values * format.bytes, count, y);
}

inline void decode_row(FloatKind kind, const uint8_t* source, int64_t columns, int64_t row, float* y) {
    decode_part(kind, source, columns, row, 0, columns, y);
}

[[gnu::noinline]] void dequantize(FloatKind kind, const uint8_t* source, int64_t columns, int64_t row0, int64_t row1,
                                  float* out) {
    for (int64_t row = row0; row < row1; row++) {
        decode_row(kind, source, columns, row, out + (row - row0) * columns);
    }
}
