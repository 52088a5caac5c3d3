// Drawing tokens (docs/numerics.md, section 10).
#pragma once

#include <cstdint>

#include "kernels.h"

namespace intact {

// The token of a row of logits in Q16: the first of the largest where slope is 0, else drawn by Philox(key, position).
std::int64_t draw(const Kernels& kernel, const std::int32_t* logits, std::int64_t n, const Sampling& sampling,
                  std::uint64_t key, std::int64_t position);

// Natural logarithm of the token's softmax probability, Q24.
std::int64_t log_probability(const Kernels& kernel, const std::int32_t* logits, std::int64_t n, std::int64_t token);

}  // namespace intact
