// One tier: included by tier_<name>.cpp after its simd header. INTACT_TIER and INTACT_TIER_NAME are defined there.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels.h"

namespace intact {
namespace {

// Each builds on those before: the blank lines keep the formatter from sorting them.
#include "integer.inl"

#ifdef INTACT_MORE_AVX512
#    include "horner_ifma.inl"
#else
#    include "horner.inl"
#endif

#include "narrow.inl"

#include "product.inl"

#include "matmul.inl"
#include "rows.inl"

#include "attention.inl"

#include "limits.inl"

#include "sampling.inl"

}  // namespace

const Kernels INTACT_TIER = {
    INTACT_TIER_NAME, kRowBytes, quantize_narrow, quantize_wide, matmul, norm_narrow, norm_wide, sine_cosine,
    rotate,           gate,      expect,          append,        attend, weights,     peaks,     above,
    compress,         masses,    multiply_adds,   read_bytes,
};

}  // namespace intact
