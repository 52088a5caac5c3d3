// The fp32 profile's kernels of tier avx2.
#include "tiers/fp32_tier.h"

namespace intact {
namespace {
#include "kernels/fp32.inl"
}  // namespace

extern const Fp32Kernels fp32_avx2 = fp32::kTable;

}  // namespace intact
