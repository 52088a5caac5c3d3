// Mixtures of experts: the experts that each row uses, and the rows of a step by expert (docs/spec/numerics.md, section
// 8).
#pragma once

#include <cstdint>
#include <iterator>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/share.h"

namespace intact {

// The rule that derives the weights of the chosen experts from their scores (models/program.py, Experts).
enum class ExpertWeights { kSoftmax, kSoftmaxOfChosen, kSigmoid, kSigmoidOfChosen };
constexpr int kExpertWeights = 4;

constexpr bool by_sigmoids(ExpertWeights weights) {
    return weights == ExpertWeights::kSigmoid || weights == ExpertWeights::kSigmoidOfChosen;
}

struct Routing {
    std::int64_t used = 0;  // experts of a row
    ExpertWeights weights = ExpertWeights::kSoftmaxOfChosen;
    std::int64_t factor = 1 << 18;  // of the weights, Q18
    float float_factor = 1;         // profile fp32
    std::int64_t groups = 1;        // of experts that follow each other, of one size
    std::int64_t groups_used = 1;   // of a row: it passes experts of these alone
};

// An expert of a row, and the weight of its result: Q18, or a float in the fp32 profile.
struct ExpertChoice {
    std::int32_t expert = 0, weight = 0;
    float float_weight = 0;
};

// The indices of the `used` largest of n scores, in ascending order; ties go to the lowest index.
template <class T> void choose_best(const T* scores, std::int64_t n, std::int64_t used, ExpertChoice* to) {
    std::vector<char> taken(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < used; i++) {
        std::int64_t best = -1;
        for (std::int64_t e = 0; e < n; e++)
            if (!taken[static_cast<std::size_t>(e)] && (best < 0 || scores[e] > scores[best])) best = e;
        if (best >= 0) taken[static_cast<std::size_t>(best)] = 1;
    }
    for (std::int64_t e = 0; e < n; e++)
        if (taken[static_cast<std::size_t>(e)]) (to++)->expert = static_cast<std::int32_t>(e);
}

// The same within the best groups, ranked by their largest score, or by the sum of their two largest if there are
// biases.
template <class T>
void choose_in_groups(const T* scores, std::int64_t n, const Routing& routing, bool biased, ExpertChoice* to) {
    if (routing.groups_used == routing.groups) return choose_best(scores, n, routing.used, to);
    const std::int64_t size = n / routing.groups;
    std::vector<T> best, of_groups;
    for (std::int64_t g = 0; g < routing.groups; g++) {
        T first = scores[g * size], second = first;
        for (std::int64_t i = 1; i < size; i++) {
            const T score = scores[g * size + i];
            if (score > first)
                second = first, first = score;
            else if (i == 1 || score > second)
                second = score;
        }
        best.push_back(biased ? first + second : first);
    }
    std::vector<ExpertChoice> groups(static_cast<std::size_t>(routing.groups_used));
    choose_best(best.data(), routing.groups, routing.groups_used, groups.data());
    for (const ExpertChoice& group : groups)
        of_groups.insert(of_groups.end(), scores + group.expert * size, scores + (group.expert + 1) * size);
    choose_best(of_groups.data(), std::ssize(of_groups), routing.used, to);
    for (std::int64_t i = 0; i < routing.used; i++) {
        const std::int64_t place = to[i].expert, group = groups[static_cast<std::size_t>(place / size)].expert;
        to[i].expert = static_cast<std::int32_t>(group * size + place % size);
    }
}

// Chooses a row's experts by their scores, and computes their weights. bias: null, or for each expert a number in Q30
// that is added for the choice to the sigmoid of its score, or to its share of a softmax over all experts. scale: null,
// or for each expert a factor of its weight, Q24.
void choose_experts(const std::int32_t* scores, std::int64_t n, const std::int64_t* bias, const std::int64_t* scale,
                    const Routing& routing, const Kernels& kernel, ExpertChoice* to);

// A packed group of rows of one expert: pairs of a row and an expert, by index in order of experts.
struct ExpertRows {
    std::int64_t expert;
    Span pairs;
};

// The pairs of all rows in order of experts, then of rows.
struct ExpertPairs {
    struct Pair {
        std::int64_t row;
        std::int32_t weight;
    };
    std::vector<Pair> pairs;
    std::vector<ExpertRows> groups;  // of at most `most` pairs
};
ExpertPairs group_by_expert(const ExpertChoice* choices, std::int64_t rows, std::int64_t used, std::int64_t experts,
                            std::int64_t most);

}  // namespace intact
