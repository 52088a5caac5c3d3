// Drawing tokens (docs/spec/numerics.md, section 10).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"

namespace intact {

struct Sampling {
    std::int64_t slope, top_k, top_p, min_p, typical;
};

// Changes to a row before a draw. Each list contains a token at most once.
struct Edits {
    using List = std::span<const std::int32_t>;
    List biased, bias;
    std::int64_t repetition;
    List repeated;
    std::int64_t presence, frequency;
    List drawn, counts;
    List forbidden;
};

struct Draw {
    Sampling sampling;
    std::uint64_t key;
    std::int64_t position;
    const Edits* edits;         // or null
    const std::uint32_t* mask;  // one bit a token, or null
};

// A row of logits in Q16, and the data that all its draws share.
struct Row {
    const std::int32_t* logits = nullptr;
    std::int64_t n = 0;
    std::vector<std::int32_t> peaks;
    std::int32_t largest = 0;
    std::vector<std::int64_t> sums;  // of weights at temperature 1
    std::int64_t mass = 0;
};

Row read_row(const Kernels& kernel, const std::int32_t* logits, std::int64_t n);

// Reads only what `top` needs.
Row read_peaks(const Kernels& kernel, const std::int32_t* logits, std::int64_t n);

// The natural logarithm of the token's softmax probability, Q24.
std::int64_t log_probability(const Row& row, std::int64_t token);

// Draws a row's token: the first maximum if slope is 0, otherwise by Philox(key, position); -1 if no token is allowed.
std::int64_t draw(const Kernels& kernel, const Row& row, const Draw& draw);

// The k tokens with the largest logits, ties to the lowest id.
void top(const Kernels& kernel, const Row& row, std::int64_t k, std::int32_t* tokens);

}  // namespace intact
