// One tier's kernels except its matrix products (products.inl). Included by tier.inl.
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/kernels.h"
#include "tiers/names.h"

namespace intact {
namespace {

// Each depends on the previous ones; the blank lines keep the formatter from sorting them.
#include "kernels/integer.inl"

#ifdef INTACT_MORE_AVX512
#    include "kernels/horner_ifma.inl"
#else
#    include "kernels/horner.inl"
#endif

#include "kernels/narrow.inl"

#include "kernels/factors.inl"

#include "kernels/fetch.inl"

#include "kernels/rows.inl"
#include "kernels/weighted.inl"

#include "kernels/attention.inl"

#include "kernels/limits.inl"

#include "kernels/sampling.inl"

const Kernels kTable = {
    INTACT_STRING(INTACT_TIER),
    {},
    quantize_narrow,
    quantize_wide,
    quantize_to,
    sparsify,
    hadamard,
    norm_narrow,
    norm_wide,
    sine_cosine,
    rotate,
    gate,
    sigmoid,
    weighted_sum,
    soft_cap,
    add_scaled,
    expect,
    append,
    attend,
    weights,
    peaks,
    above,
    compress,
    masses,
    multiply_adds,
    read_bytes,
};

}  // namespace

const Kernels& INTACT_OF_TIER(kernels_)();
const Kernels& INTACT_OF_TIER(kernels_)() { return kTable; }

}  // namespace intact
