// Prerequisites of a tier's translation unit before it includes fp32.inl in its anonymous namespace.
#pragma once

#include <cfloat>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#    include <immintrin.h>
#elif defined(__aarch64__)
#    include <arm_neon.h>
#endif

#include "kernels/fp32.h"
