// A packed weight as the kernels see it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "runtime/weight.h"

namespace intact {

inline Factored view(const BlockNumbers& x) { return {x.plain, x.fine, x.coarse, x.span, x.runs}; }

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
    const auto scale = std::minmax_element(w.scale_exp, w.scale_exp + w.rows);
    m.scale_exp_low = *scale.first;
    m.scale_exp_high = *scale.second;
    if (w.has_min) {
        const auto minimum = std::minmax_element(w.minimum_exp, w.minimum_exp + w.rows);
        m.minimum_exp_low = *minimum.first;
        m.minimum_exp_high = *minimum.second;
    }
    return m;
}

}  // namespace intact
