#include "bindings/bind_sample.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>

#include "bindings/bind_arrays.h"
#include "bindings/bind_draw.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

using Rows = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// The distinct row indices, and for each of `rows` its position among them.
struct Distinct {
    std::vector<std::int64_t> rows, index;
    explicit Distinct(const std::vector<std::int64_t>& wanted, std::size_t count) {
        std::vector<std::int64_t> found(count, -1);
        for (const std::int64_t row : wanted) {
            if (row < 0 || static_cast<std::size_t>(row) >= count) throw std::invalid_argument("no such row of logits");
            std::int64_t& at = found[static_cast<std::size_t>(row)];
            if (at < 0) {
                at = static_cast<std::int64_t>(rows.size());
                rows.push_back(row);
            }
            index.push_back(at);
        }
    }
};

// Computes the data that all draws from the given rows share, on the model's threads.
std::vector<Row> read_rows(Model& model, const Rows& logits, const std::vector<std::int64_t>& rows) {
    const auto n = static_cast<std::int64_t>(logits.shape(1));
    std::vector<Row> read(rows.size());
    model.pool.for_each(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
        const auto at = static_cast<std::size_t>(i);
        read[at] = read_row(*model.kernel, logits.data() + rows[at] * n, n);
    });
    return read;
}

nb::tuple draw_rows(Model& model, const Rows& logits, const std::vector<DrawArguments>& arguments) {
    const Busy busy(model);
    const auto n = static_cast<std::int64_t>(logits.shape(1));
    if (n == 0) throw std::invalid_argument("there are no logits");
    const std::size_t count = arguments.size();
    std::vector<std::int64_t> wanted;
    std::vector<DrawOf> draws;
    draws.reserve(count);
    for (const DrawArguments& given : arguments) {
        wanted.push_back(std::get<0>(given));
        draws.emplace_back(given, n);
    }
    const Distinct distinct(wanted, logits.shape(0));
    auto tokens = make_array<std::int64_t>({count});
    auto logprobs = make_array<std::int64_t>({count});
    {
        nb::gil_scoped_release release;
        const auto answer = [&](std::size_t at, const Row& row) {
            const std::int64_t token = draw(*model.kernel, row, draws[at].draw());
            tokens.data()[at] = token;
            logprobs.data()[at] = token < 0 ? 0 : log_probability(row, token);
        };
        if (distinct.rows.size() == count) {  // each row is read and drawn from while it is in the cache
            model.pool.for_each(static_cast<std::int64_t>(count), [&](std::int64_t i) {
                const auto at = static_cast<std::size_t>(i);
                answer(at, read_row(*model.kernel, logits.data() + wanted[at] * n, n));
            });
        } else {
            const std::vector<Row> rows = read_rows(model, logits, distinct.rows);
            model.pool.for_each(static_cast<std::int64_t>(count), [&](std::int64_t i) {
                const auto at = static_cast<std::size_t>(i);
                answer(at, rows[static_cast<std::size_t>(distinct.index[at])]);
            });
        }
    }
    return nb::make_tuple(tokens, logprobs);
}

void check_k(const Rows& logits, std::int64_t k) {
    if (k < 1 || k > static_cast<std::int64_t>(logits.shape(1)))
        throw std::invalid_argument("k must lie in 1 to " + std::to_string(logits.shape(1)) + ", got " +
                                    std::to_string(k));
}

nb::ndarray<nb::numpy, std::int32_t> likeliest(Model& model, const Rows& logits, const Vector<std::int64_t>& rows,
                                               std::int64_t k) {
    const Busy busy(model);
    const std::size_t count = rows.shape(0);
    check_k(logits, k);
    const Distinct checked({rows.data(), rows.data() + count}, logits.shape(0));
    auto tokens = make_array<std::int32_t>({count, static_cast<std::size_t>(k)});
    {
        nb::gil_scoped_release release;
        const auto n = static_cast<std::int64_t>(logits.shape(1));
        model.pool.for_each(static_cast<std::int64_t>(count), [&](std::int64_t i) {
            const Row row = read_peaks(*model.kernel, logits.data() + rows.data()[i] * n, n);
            top(*model.kernel, row, k, tokens.data() + i * k);
        });
    }
    return tokens;
}

nb::tuple top_rows(Model& model, const Rows& logits, const Vector<std::int64_t>& rows, std::int64_t k) {
    const Busy busy(model);
    const std::size_t count = rows.shape(0);
    check_k(logits, k);
    const Distinct distinct({rows.data(), rows.data() + count}, logits.shape(0));
    auto tokens = make_array<std::int32_t>({count, static_cast<std::size_t>(k)});
    auto logprobs = make_array<std::int64_t>({count, static_cast<std::size_t>(k)});
    {
        nb::gil_scoped_release release;
        const std::vector<Row> read = read_rows(model, logits, distinct.rows);
        model.pool.for_each(static_cast<std::int64_t>(count), [&](std::int64_t i) {
            const Row& row = read[static_cast<std::size_t>(distinct.index[static_cast<std::size_t>(i)])];
            std::int32_t* to = tokens.data() + i * k;
            top(*model.kernel, row, k, to);
            for (std::int64_t j = 0; j < k; j++) logprobs.data()[i * k + j] = log_probability(row, to[j]);
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
            const Row row = read_row(*model.kernel, logits.data() + i * vocabulary, vocabulary);
            out.data()[i] = log_probability(row, tokens.data()[i]);
        });
    }
    return out;
}

}  // namespace

void bind_sample(nb::module_& m) {
    m.def("draw", &draw_rows, "model"_a, "logits"_a, "draws"_a);
    m.def("top", &top_rows, "model"_a, "logits"_a, "rows"_a, "k"_a);
    m.def("likeliest", &likeliest, "model"_a, "logits"_a, "rows"_a, "k"_a);
    m.def("log_probabilities", &log_probabilities, "model"_a, "logits"_a, "tokens"_a);
}

}  // namespace intact
