#include "runtime/experts.h"

#include <algorithm>
#include <numeric>

#include "runtime/step.h"

namespace intact {

namespace {

// The experts whose sigmoid and bias have the largest sums.
void choose_best_sums(const std::int32_t* scores, std::int64_t n, const std::int64_t* bias, const Routing& routing,
                      const Kernels& kernel, ExpertChoice* to) {
    std::vector<std::int32_t> sigmoids(static_cast<std::size_t>(n));
    kernel.sigmoid(scores, n, sigmoids.data());
    std::vector<std::int64_t> sums(sigmoids.begin(), sigmoids.end());
    for (std::int64_t e = 0; e < n; e++) at(sums, e) += bias[e];
    choose_in_groups(sums.data(), n, routing, true, to);
}

}  // namespace

void choose_experts(const std::int32_t* scores, std::int64_t n, const std::int64_t* bias, const Routing& routing,
                    const Kernels& kernel, ExpertChoice* to) {
    constexpr std::int64_t kLog2E = 1549082005;  // Q30
    constexpr std::int64_t kLeastSum = 1074;     // 10^-6 in Q30
    if (bias)
        choose_best_sums(scores, n, bias, routing, kernel, to);
    else
        choose_in_groups(scores, n, routing, false, to);
    const std::int64_t used = routing.used;
    std::vector<std::int32_t> chosen, shares(static_cast<std::size_t>(std::max(n, used)));
    for (std::int64_t i = 0; i < used; i++) chosen.push_back(scores[to[i].expert]);
    std::int64_t mass = std::int64_t{1} << 30;  // 1 in Q30
    if (routing.weights == ExpertWeights::kSigmoid || routing.weights == ExpertWeights::kSigmoidOfChosen) {
        kernel.sigmoid(chosen.data(), used, shares.data());
        if (routing.weights == ExpertWeights::kSigmoidOfChosen)
            mass = std::accumulate(shares.begin(), shares.begin() + used, kLeastSum);
    } else {
        const bool all = routing.weights == ExpertWeights::kSoftmax;
        const std::int32_t largest = *std::max_element(chosen.begin(), chosen.end());
        kernel.weights(all ? scores : chosen.data(), all ? n : used, largest, kLog2E, shares.data(), &mass);
        for (std::int64_t i = 0; all && i < used; i++) at(chosen, i) = at(shares, to[i].expert);
        if (all) shares = chosen;
    }
    for (std::int64_t i = 0; i < used; i++)
        to[i].weight = static_cast<std::int32_t>(at(shares, i) * routing.factor / mass);
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
