#include "runtime/routing.h"

#include <algorithm>
#include <numeric>

#include "runtime/step.h"

namespace intact {

namespace {

constexpr std::int64_t kOne = std::int64_t{1} << 30;  // Q30

// Computes the shares of a softmax; returns the number that represents 1.
std::int64_t softmax(const std::int32_t* scores, std::int64_t n, const Kernels& kernel, std::int32_t* shares) {
    constexpr std::int64_t kLog2E = 1549082005;  // Q30
    std::int64_t mass = 0;
    kernel.weights(scores, n, *std::max_element(scores, scores + n), kLog2E, shares, &mass);
    return mass;
}

// Chooses the experts with the largest sums of bias and sigmoid, or of bias and share of a softmax over all experts.
void choose_best_sums(const std::int32_t* scores, std::int64_t n, const std::int64_t* bias, const Routing& routing,
                      const Kernels& kernel, ExpertChoice* to) {
    std::vector<std::int32_t> shares(static_cast<std::size_t>(n));
    std::int64_t mass = kOne;
    if (by_sigmoids(routing.weights))
        kernel.sigmoid(scores, n, shares.data());
    else
        mass = softmax(scores, n, kernel, shares.data());
    std::vector<std::int64_t> sums(bias, bias + n);
    for (std::int64_t e = 0; e < n; e++) at(sums, e) += at(shares, e) * kOne / mass;
    choose_in_groups(sums.data(), n, routing, true, to);
}

}  // namespace

void choose_experts(const std::int32_t* scores, std::int64_t n, const std::int64_t* bias, const std::int64_t* scale,
                    const Routing& routing, const Kernels& kernel, ExpertChoice* to) {
    constexpr std::int64_t kLeastSum = 1074;  // 10^-6 in Q30
    constexpr std::int64_t kMost = (1 << 20) - 1, kHalf = 1 << 23;
    if (bias)
        choose_best_sums(scores, n, bias, routing, kernel, to);
    else
        choose_in_groups(scores, n, routing, false, to);
    const std::int64_t used = routing.used;
    std::vector<std::int32_t> chosen, shares(static_cast<std::size_t>(std::max(n, used)));
    for (std::int64_t i = 0; i < used; i++) chosen.push_back(scores[to[i].expert]);
    std::int64_t mass = kOne;
    if (by_sigmoids(routing.weights)) {
        kernel.sigmoid(chosen.data(), used, shares.data());
        if (routing.weights == ExpertWeights::kSigmoidOfChosen)
            mass = std::accumulate(shares.begin(), shares.begin() + used, kLeastSum);
    } else if (routing.weights == ExpertWeights::kSoftmax) {
        mass = softmax(scores, n, kernel, shares.data());
        for (std::int64_t i = 0; i < used; i++) at(chosen, i) = at(shares, to[i].expert);
        shares = chosen;
    } else {
        mass = softmax(chosen.data(), used, kernel, shares.data());
    }
    for (std::int64_t i = 0; i < used; i++) {
        std::int64_t weight = at(shares, i) * routing.factor / mass;
        if (scale) weight = std::clamp((weight * scale[to[i].expert] + kHalf) >> 24, -kMost, kMost);
        to[i].weight = static_cast<std::int32_t>(weight);
    }
}

ExpertPairs group_by_expert(const ExpertChoice* choices, std::int64_t rows, std::int64_t used, std::int64_t experts,
                            std::int64_t most) {
    std::vector<std::int64_t> first(static_cast<std::size_t>(experts) + 1);
    for (std::int64_t i = 0; i < rows * used; i++) at(first, choices[i].expert + 1)++;
    ExpertPairs out;
    for (std::int64_t e = 0; e < experts; e++) {
        at(first, e + 1) += at(first, e);
        for (std::int64_t from = at(first, e); from < at(first, e + 1); from += most)
            out.groups.push_back({e, {from, std::min(from + most, at(first, e + 1))}});
    }
    out.pairs.resize(static_cast<std::size_t>(rows * used));
    for (std::int64_t i = 0; i < rows * used; i++)
        at(out.pairs, at(first, choices[i].expert)++) = {i / used, choices[i].weight};
    return out;
}

}  // namespace intact
