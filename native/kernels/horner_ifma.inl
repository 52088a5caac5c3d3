// Horner's rule with 52-bit multiply-adds, which use the low 52 bits of a product: these are the product itself if acc
// is not negative, and 2^52 more if it is, so the coefficient is reduced by 2^52. If the fraction is 0, the result is
// wrong by 2^52, but then the next product is 0 too, and only the low 48 bits of the last sum are read.

template <bool NEGATIVE> __m512i horner_sum(__m512i acc, __m512i fraction, std::int64_t c) {
    constexpr std::int64_t kMore = NEGATIVE ? std::int64_t{1} << 52 : 0;
    return _mm512_madd52lo_epu64(_mm512_set1_epi64(rounding(c, 16) - kMore), acc, fraction);
}
template <bool NEGATIVE> __m512i horner(__m512i acc, __m512i fraction, std::int64_t c) {
    return _mm512_srai_epi64(horner_sum<NEGATIVE>(acc, fraction, c), 16);
}

inline Split split_all(std::int32_t x) { return {_mm512_set1_epi64(x), _mm512_set1_epi64(x)}; }
template <bool NEGATIVE> Split horner(Split acc, Split fraction, std::int64_t c) {
    return {horner<NEGATIVE>(acc.even, fraction.even, c), horner<NEGATIVE>(acc.odd, fraction.odd, c)};
}
template <bool NEGATIVE> Narrow horner_twice(Split acc, Split fraction, std::int64_t c) {
    const __m512i even = horner_sum<NEGATIVE>(acc.even, fraction.even, c);
    const __m512i odd = horner_sum<NEGATIVE>(acc.odd, fraction.odd, c);
    return (Narrow)_mm512_ternarylogic_epi64(_mm512_set1_epi64(static_cast<std::int64_t>(0xFFFFFFFE00000001)),
                                             _mm512_slli_epi64(odd, 17), _mm512_srli_epi64(even, 15), 0xCA);
}

inline Lanes even_fraction(Lanes x) { return {_mm512_and_si512(x.v, _mm512_set1_epi64(0xFFFF))}; }
inline Lanes odd_fraction(Lanes x) {
    const __m128i bytes = _mm_set_epi64x(0x8080808080800D0C, 0x8080808080800504);  // two of eight, then zeros
    return {_mm512_shuffle_epi8(x.v, _mm512_broadcast_i32x4(bytes))};
}
template <bool NEGATIVE> Lanes horner_sum(Lanes acc, Lanes fraction, std::int64_t c) {
    return {horner_sum<NEGATIVE>(acc.v, fraction.v, c)};
}
template <bool NEGATIVE> Lanes horner(Lanes acc, Lanes fraction, std::int64_t c) {
    return {horner<NEGATIVE>(acc.v, fraction.v, c)};
}
