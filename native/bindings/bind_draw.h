// Validates a draw that comes from Python (numerics/sampling.py).
#pragma once

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <tuple>

#include "runtime/sample.h"

namespace intact {

template <class T>
using List = nanobind::ndarray<const T, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Tokens = List<std::int32_t>;
using SamplingArguments = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
using EditArguments =
    std::tuple<Tokens, Tokens, std::int64_t, Tokens, std::int64_t, std::int64_t, Tokens, Tokens, Tokens>;
using DrawArguments = std::tuple<std::int64_t, SamplingArguments, std::uint64_t, std::int64_t,
                                 std::optional<EditArguments>, std::optional<List<std::uint32_t>>>;

// Holds the data that a Draw points to; the arguments must outlive it.
class DrawOf {
public:
    DrawOf(const DrawArguments& given, std::int64_t vocabulary) {
        const auto& [row, sampling, key, position, edits, mask] = given;
        const auto [slope, top_k, top_p, min_p, typical] = sampling;
        draw_ = {{slope, top_k, top_p, min_p, typical}, key, position, nullptr, nullptr};
        demand((slope == 0 || slope >= kLeastSlope) && top_k >= 0 && share(top_p) && share(min_p) && share(typical),
               "no such sampling");
        if (edits) edits_ = read(*edits, vocabulary);
        if (mask) {
            demand(static_cast<std::int64_t>(mask->shape(0)) >= (vocabulary + 31) / 32,
                   "a mask needs a bit for each token");
            draw_.mask = mask->data();
        }
    }

    Draw draw() const {
        Draw made = draw_;
        made.edits = edits_ ? &*edits_ : nullptr;
        return made;
    }

private:
    static void demand(bool holds, const char* what) {
        if (!holds) throw std::invalid_argument(what);
    }
    static bool share(std::int64_t millionths) { return millionths >= 0 && millionths <= 1000000; }

    static std::span<const std::int32_t> list(const Tokens& x) { return {x.data(), x.shape(0)}; }

    static Edits read(const EditArguments& given, std::int64_t vocabulary) {
        const auto& [biased, bias, repetition, repeated, presence, frequency, drawn, counts, forbidden] = given;
        const Edits edits{list(biased), list(bias),  repetition,   list(repeated), presence,
                          frequency,    list(drawn), list(counts), list(forbidden)};
        demand(edits.biased.size() == edits.bias.size() && edits.drawn.size() == edits.counts.size(),
               "a token to edit needs a number");
        demand(repetition >= 1 && repetition <= 1000000000, "no such repetition penalty");
        for (const auto& tokens : {edits.biased, edits.repeated, edits.drawn, edits.forbidden})
            for (const std::int32_t token : tokens)
                demand(token >= 0 && token < vocabulary, "an edit names a token outside the vocabulary");
        return edits;
    }

    Draw draw_;
    std::optional<Edits> edits_;
};

}  // namespace intact
