// Tier vbmi2 with the products of tier avx512: in vbmi2's, what AMD's multipliers could do goes to shifts and affine
// maps.
#include "kernels/kernels.h"

namespace intact {

const Kernels& kernels_avx512();
const Kernels& kernels_vbmi2();
const Kernels& kernels_zen4();

const Kernels& kernels_zen4() {
    static const Kernels table = [] {
        Kernels k = kernels_vbmi2();
        k.name = "zen4";
        k.matmul = kernels_avx512().matmul;
        return k;
    }();
    return table;
}

}  // namespace intact
