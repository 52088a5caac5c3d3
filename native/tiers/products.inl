// A part of one tier's matrix products: the kinds INTACT_KINDS_n, where n is INTACT_PRODUCTS. Included by tier.inl. A
// single file for all would take minutes of one core, and gigabytes of memory, to compile.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "tiers/names.h"

namespace intact {

Matmul* INTACT_OF_PART(1)(const Matrix& w);
Matmul* INTACT_OF_PART(2)(const Matrix& w);
Matmul* INTACT_OF_PART(3)(const Matrix& w);
#ifdef INTACT_TILES
const Products& products_vbmi2();
#endif
const Products& INTACT_OF_TIER(products_)();

namespace {

// Each depends on the previous ones; the blank lines keep the formatter from sorting them.
#include "kernels/integer.inl"

#include "kernels/factors.inl"

#include "kernels/fetch.inl"

#include "kernels/product.inl"

#ifdef INTACT_TILES
#    include "kernels/tiles.inl"
#else
#    include "kernels/matmul.inl"
#endif

// The product for a matrix's kind if it belongs to this part, otherwise null.
Matmul* find(const Matrix& w) {
#define INTACT_TRY_KIND(BITS, BLOCK, TABLE) \
    if (w.bits == BITS && w.block == BLOCK && w.has_table == TABLE) return matmul_of<BITS, BLOCK, TABLE>;
    INTACT_EXPAND(INTACT_KINDS_, INTACT_PRODUCTS)(INTACT_TRY_KIND);
#undef INTACT_TRY_KIND
    return nullptr;
}

#if INTACT_PRODUCTS == 3
Matmul* find_any(const Matrix& w) {
    if (Matmul* const found = INTACT_OF_PART(1)(w)) return found;
    if (Matmul* const found = INTACT_OF_PART(2)(w)) return found;
    return find(w);
}

void matmul(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
            std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed) {
#    ifdef INTACT_TILES
    // Tiles multiply signed bytes only. The tier below packs fewer rows at a time, so rows that it packed are still
    // there only if they are few.
    const bool few = row1 - row0 < kLeastRows;
    Matmul* const run = few || has_long_table(w) || !w.signed_bytes ? products_vbmi2().matmul : find_any(w);
    run(w, a, row0, row1, panel0, panel1, out, scratch, packed && (few || run != products_vbmi2().matmul));
#    else
    Matmul* const run = has_long_table(w) ? matmul_of_long_table(w) : find_any(w);
    run(w, a, row0, row1, panel0, panel1, out, scratch, packed);
#    endif
}

const Products kProducts = {kOwnRowBytes, matmul};
#endif

}  // namespace

Matmul* INTACT_OF_PART(INTACT_PRODUCTS)(const Matrix& w) { return find(w); }

#if INTACT_PRODUCTS == 3
const Products& INTACT_OF_TIER(products_)() { return kProducts; }
#endif

}  // namespace intact
