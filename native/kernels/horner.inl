// Horner's rule for the polynomial of 2^-t: acc times a fraction in Q16 plus the next coefficient, rounded. The
// coefficients change their sign from one to the next; NEGATIVE is acc's.

inline Split split_all(std::int32_t x) { return split(Narrow{} + x); }
template <bool NEGATIVE> Split horner(Split acc, Split fraction, std::int64_t c) {
    return multiply_shift<16>(acc, fraction, rounding(c, 16));
}
// The last step, twice.
template <bool NEGATIVE> Narrow horner_twice(Split acc, Split fraction, std::int64_t c) {
    return join(multiply_shift<15>(acc, fraction, rounding(c, 16))) & -2;
}

// The low 16 bits of the lanes at even places, and at odd ones, where products of low halves take them.
inline Lanes even_fraction(Lanes x) { return low_halves(x); }
inline Lanes odd_fraction(Lanes x) { return shift_unsigned_wide<32>(low_halves(x)); }
// The last step, before its shift by 16.
template <bool NEGATIVE> Lanes horner_sum(Lanes acc, Lanes fraction, std::int64_t c) {
    return add_wide(multiply_low(acc, fraction), broadcast_wide(rounding(c, 16)));
}
template <bool NEGATIVE> Lanes horner(Lanes acc, Lanes fraction, std::int64_t c) {
    return shift_unsigned_wide<16>(horner_sum<NEGATIVE>(acc, fraction, c));
}
