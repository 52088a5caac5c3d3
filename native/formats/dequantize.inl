// Decodes stored weights to float32 as ggml's reference does: scale times code is one rounded multiplication, and a
// minimum one rounded subtraction.
#define INTACT_DEFINE_FORMATS
#include "formats/list.inl"

inline float from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }

inline uint16_t read16(const uint8_t* p) {
    uint16_t x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

// Converts float16 exactly, for a number or a vector. No operation has a subnormal float operand, because some
// processors are slow with them.
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

// Sets out[i] = values[c[i]] for kWidth codes below 16.
inline void look_up(const float* values, const uint8_t* c, float* out) {
#if defined(__AVX512F__)
    const __m512i codes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(c)));
    _mm512_storeu_ps(out, _mm512_permutexvar_ps(codes, _mm512_loadu_ps(values)));
#elif defined(__AVX2__)
    const __m256i codes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(c)));
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(values), codes);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(values + 8), codes);
    _mm256_storeu_ps(out, _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28))));
#else
    for (int i = 0; i < kWidth; i++) out[i] = values[c[i]];
#endif
}

// Decodes one block (formula in src/intact/numerics/weight_formats/definition.py).
template <class Format> inline void decode_block(const uint8_t* b, float* y) {
    constexpr int kSubBlocks = 32 / Format::block;  // of a part
    float d = 1.0f, e = 0.0f;
    if constexpr (!Format::powers_of_two) d = half_of<float>(uint32_t{Format::scale_bits(b)});
    if constexpr (Format::has_min) e = half(b + Format::minimum_at);
    for (int part = 0; part < Format::values / 32; part++) {
        const formats::Codes codes = Format::codes(b, part);
        uint8_t code[32];
        std::memcpy(code, &codes, sizeof code);
        [[maybe_unused]] float raw[32];
        if constexpr (Format::has_min)
            for (int i = 0; i < 32; i++) raw[i] = static_cast<float>(code[i]);
        for (int s = 0; s < kSubBlocks; s++) {
            const int at = part * kSubBlocks + s, factor = Format::scale(b, at);
            const uint8_t* c = code + Format::block * s;
            float* __restrict out = y + 32 * part + Format::block * s;
            float scale = d * (static_cast<float>(factor) / (1 << Format::fraction));
            if constexpr (Format::powers_of_two) {
                const auto x = static_cast<uint32_t>(factor);  // for 2^(x - 128)
                scale = from_bits(x < 2 ? 0x00200000u << x : (x - 1) << 23);
            }
            if constexpr (Format::has_min) {
                const float minimum = e * static_cast<float>(Format::minimum(b, at));
                for (int i = 0; i < Format::block; i++) out[i] = scale * raw[Format::block * s + i] - minimum;
            } else if constexpr (Format::table != nullptr) {
                float values[16];
                for (int i = 0; i < 16; i++) values[i] = scale * static_cast<float>(Format::table[i] - Format::zero);
                for (int i = 0; i < Format::block; i += kWidth) look_up(values, c + i, out + i);
            } else {
                for (int i = 0; i < Format::block; i++) out[i] = scale * static_cast<float>(c[i] - Format::zero);
            }
        }
    }
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

// Decodes `count` values from the start of a block; whole blocks only, except for floats.
inline void decode(WeightKind kind, const uint8_t* b, int64_t count, float* y) {
    switch (kind) {
        case WeightKind::F32:
            std::memcpy(y, b, static_cast<std::size_t>(count) * 4);
            return;
        case WeightKind::F16:
            decode_f16(b, count, y);
            return;
        case WeightKind::BF16:
            for (int64_t i = 0; i < count; i++) y[i] = from_bits(static_cast<uint32_t>(read16(b + 2 * i)) << 16);
            return;
#define INTACT_DECODE(name)                                                                   \
    case WeightKind::name:                                                                    \
        for (int64_t i = 0; i < count; i += formats::name::values, b += formats::name::bytes) \
            decode_block<formats::name>(b, y + i);                                            \
        return;
            INTACT_BLOCK_FORMATS(INTACT_DECODE)
#undef INTACT_DECODE
    }
}

// Decodes columns k to k + count - 1 of a row; k must be the start of a block.
inline void decode_part(WeightKind kind, const uint8_t* source, int64_t columns, int64_t row, int64_t k, int64_t count,
                        float* y) {
    const WeightFormat& format = format_of(kind);
    decode(kind, source + (row * columns + k) / format.values * format.bytes, count, y);
}

inline void decode_row(WeightKind kind, const uint8_t* source, int64_t columns, int64_t row, float* y) {
    decode_part(kind, source, columns, row, 0, columns, y);
}

[[gnu::noinline]] void dequantize(WeightKind kind, const uint8_t* source, int64_t columns, int64_t row0, int64_t row1,
                                  float* out) {
    for (int64_t row = row0; row < row1; row++) {
        decode_row(kind, source, columns, row, out + (row - row0) * columns);
    }
}
