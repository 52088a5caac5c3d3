// A packed weight in the form that kernels take.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "runtime/weight.h"

namespace intact {

inline Factored view(const BlockNumbers& x) { return {x.plain, x.fine, x.coarse, x.span, x.runs}; }

inline ExponentRanges exponent_ranges(const Weight& w) {
    const auto scale = std::minmax_element(w.scale_exp, w.scale_exp + w.rows);
    if (!w.has_min) return {*scale.first, *scale.second, 0, 0};
    const auto minimum = std::minmax_element(w.minimum_exp, w.minimum_exp + w.rows);
    return {*scale.first, *scale.second, *minimum.first, *minimum.second};
}

inline Matrix view(const Weight& w) {
    Matrix m{};
    m.rows = w.rows;
    m.blocks = w.blocks();
    m.bits = w.bits;
    m.block = w.block;
    m.zero = w.zero;
    m.shift = w.shift;
    m.has_table = w.has_table;
    m.has_min = w.has_min;
    m.codes = w.codes;
    m.scales = view(w.scales);
    m.minima = view(w.minima);
    m.scale_exp = w.scale_exp;
    m.minimum_exp = w.minimum_exp;
    m.pairs = w.pairs();
    m.table = w.table_bytes.get();
    m.table_high = w.table_is_wide ? m.table + Weight::kTable : nullptr;
    m.signed_bytes = w.signed_bytes();
    const ExponentRanges exponents = w.exponents ? *w.exponents : exponent_ranges(w);
    m.scale_exp_low = exponents.scale_low;
    m.scale_exp_high = exponents.scale_high;
    m.minimum_exp_low = exponents.minimum_low;
    m.minimum_exp_high = exponents.minimum_high;
    return m;
}

}  // namespace intact
