// One tier: included by tier_<name>.cpp after its simd header. INTACT_TIER and INTACT_TIER_NAME are defined there.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"

namespace intact {
namespace {

// Each builds on those before: the blank lines keep the formatter from sorting them.
#include "kernels/integer.inl"

#ifdef INTACT_MORE_AVX512
#    include "kernels/horner_ifma.inl"
#else
#    include "kernels/horner.inl"
#endif

#include "kernels/narrow.inl"

#include "kernels/product.inl"

#include "kernels/matmul.inl"
#include "kernels/rows.inl"

#include "kernels/attention.inl"

#include "kernels/limits.inl"

#include "kernels/sampling.inl"

}  // namespace

const Kernels INTACT_TIER = {
    INTACT_TIER_NAME, kRowBytes, quantize_narrow, quantize_wide, matmul, norm_narrow, norm_wide, sine_cosine,
    rotate,           gate,      expect,          append,        attend, weights,     peaks,     above,
    compress,         masses,    multiply_adds,   read_bytes,
};

}  // namespace intact
