// Horner's rule for the polynomial of 2^-t: acc times a fraction in Q16 plus the next coefficient, rounded. Consecutive
// coefficients alternate in sign; NEGATIVE is the sign of acc.

inline Split split_all(std::int32_t x) { return split(Narrow{} + x); }
template <bool NEGATIVE> Split horner(Split acc, Split fraction, std::int64_t c) {
    return multiply_shift<16>(acc, fraction, rounding(c, 16));
}
// The last step, doubled.
template <bool NEGATIVE> Narrow horner_twice(Split acc, Split fraction, std::int64_t c) {
    return join(multiply_shift<15>(acc, fraction, rounding(c, 16))) & -2;
}

// Returns the low 16 bits of the even lanes, and of the odd lanes, in the places where low-half products read them.
inline Lanes even_fraction(Lanes x) { return low_halves(x); }
inline Lanes odd_fraction(Lanes x) { return shift_unsigned_wide<32>(low_halves(x)); }
// The last step, before its shift by 16.
template <bool NEGATIVE> Lanes horner_sum(Lanes acc, Lanes fraction, std::int64_t c) {
    return add_wide(multiply_low(acc, fraction), broadcast_wide(rounding(c, 16)));
}
template <bool NEGATIVE> Lanes horner(Lanes acc, Lanes fraction, std::int64_t c) {
    return shift_unsigned_wide<16>(horner_sum<NEGATIVE>(acc, fraction, c));
}
