#include "bind_sample.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "bind_arrays.h"
#include "sample.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

using Rows = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

nb::tuple draw_rows(Model& model, const Rows& logits,
                    const std::vector<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>>& sampling,
                    const Vector<std::uint64_t>& keys, const Vector<std::int64_t>& positions) {
    const Busy busy(model);
    const std::size_t rows = logits.shape(0);
    if (logits.shape(1) == 0) throw std::invalid_argument("there are no logits");
    if (sampling.size() != rows || keys.shape(0) != rows || positions.shape(0) != rows)
        throw std::invalid_argument("a row needs sampling, key and position");
    auto tokens = make_array<std::int64_t>({rows});
    auto logprobs = make_array<std::int64_t>({rows});
    const auto vocabulary = static_cast<std::int64_t>(logits.shape(1));
    {
        nb::gil_scoped_release release;
        model.pool.for_each(static_cast<std::int64_t>(rows), [&](std::int64_t i) {
            const auto [slope, top_k, top_p, min_p] = sampling[static_cast<std::size_t>(i)];
            const std::int32_t* row = logits.data() + i * vocabulary;
            tokens.data()[i] =
                draw(*model.kernel, row, vocabulary, {slope, top_k, top_p, min_p}, keys.data()[i], positions.data()[i]);
            logprobs.data()[i] = log_probability(*model.kernel, row, vocabulary, tokens.data()[i]);
        });
    }
    return nb::make_tuple(tokens, logprobs);
}

nb::ndarray<nb::numpy, std::int64_t> log_probabilities(Model& model, const Rows& logits,
                                                       const Vector<std::int64_t>& tokens) {
    const Busy busy(model);
    const std::size_t rows = logits.shape(0);
    if (tokens.shape(0) != rows) throw std::invalid_argument("a row needs a token");
    const auto vocabulary = static_cast<std::int64_t>(logits.shape(1));
    for (std::size_t i = 0; i < rows; i++)
        if (tokens.data()[i] < 0 || tokens.data()[i] >= vocabulary)
            throw std::invalid_argument("token outside the vocabulary");
    auto out = make_array<std::int64_t>({rows});
    {
        nb::gil_scoped_release release;
        model.pool.for_each(static_cast<std::int64_t>(rows), [&](std::int64_t i) {
            out.data()[i] =
                log_probability(*model.kernel, logits.data() + i * vocabulary, vocabulary, tokens.data()[i]);
        });
    }
    return out;
}

}  // namespace

void bind_sample(nb::module_& m) {
    m.def("draw", &draw_rows, "model"_a, "logits"_a, "sampling"_a, "keys"_a, "positions"_a);
    m.def("log_probabilities", &log_probabilities, "model"_a, "logits"_a, "tokens"_a);
}

}  // namespace intact
