// AVX-512 with products in AMX's tiles and, as all processors with these have them, multiply-adds of 52 bits, shifts of
// two words as one and affine maps of a byte's bits. Draws are tier avx512's.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels.h"
#include "simd_avx512.h"

namespace intact {
namespace {

// Each builds on those before: the blank lines keep the formatter from sorting them.
#include "integer.inl"

#include "horner_ifma.inl"

#include "narrow.inl"

#include "product.inl"

namespace vectors {
#include "matmul.inl"
}

#include "rows.inl"
#include "tiles.inl"

#include "attention.inl"

}  // namespace

const Kernels* amx_kernels() {
    static const Kernels table = [] {
        Kernels k = kAvx512;
        k.name = "amx";
        k.row_bytes = kTileRowBytes;
        k.quantize_narrow = quantize_narrow;
        k.quantize_wide = quantize_wide;
        k.matmul = matmul;
        k.norm_narrow = norm_narrow;
        k.norm_wide = norm_wide;
        k.sine_cosine = sine_cosine;
        k.rotate = rotate;
        k.gate = gate;
        k.expect = expect;
        k.append = append;
        k.attend = attend;
        k.weights = weights;
        return k;
    }();
    return &table;
}

}  // namespace intact
