// Tier vbmi2, with products of many rows in AMX's tiles.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "simd/simd_avx512.h"

namespace intact {

const Kernels& kernels_vbmi2();
const Kernels& kernels_amx();

namespace {

// Each builds on those before: the blank lines keep the formatter from sorting them.
#include "kernels/integer.inl"

#include "kernels/factors.inl"

#include "kernels/product.inl"

#include "kernels/tiles.inl"

}  // namespace

const Kernels& kernels_amx() {
    static const Kernels table = [] {
        Kernels k = kernels_vbmi2();
        k.name = "amx";
        k.row_bytes = kTileRowBytes;
        k.matmul = matmul;
        return k;
    }();
    return table;
}

}  // namespace intact
