#include "bindings/bind_solve.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "bindings/bind_arrays.h"
#include "formats/solve.h"

namespace nb = nanobind;

namespace intact {
namespace {

using Grid = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<nb::numpy, double>;

std::tuple<Result, Result> factor(const Grid& h, int threads) {
    const std::size_t k = h.shape(0);
    if (h.shape(1) != k) throw std::invalid_argument("a matrix that is factored is square");
    Result r = make_array<double>({k, k}), d = make_array<double>({k});
    std::copy_n(h.data(), k * k, r.data());
    std::int64_t wrong = -1;
    {
        nb::gil_scoped_release release;
        wrong = factor_upper(r.data(), d.data(), static_cast<std::int64_t>(k), on_threads(threads));
    }
    if (wrong >= 0) throw std::domain_error("pivot " + std::to_string(wrong) + " is not positive");
    for (std::size_t i = 0; i < k; i++) {
        std::fill_n(r.data() + i * k, i, 0.0);
        r.data()[i * k + i] = 1.0;
    }
    return {r, d};
}

std::tuple<Result, Result> round_in_order(const Grid& original, const Grid& step, const Grid& offset, const Grid& r,
                                          const Vector<double>& d, const Vector<double>& levels, bool even,
                                          int threads) {
    const std::size_t rows = original.shape(0), columns = original.shape(1);
    const auto like = [&](const Grid& other) { return other.shape(0) == rows && other.shape(1) == columns; };
    if (!like(step) || !like(offset) || r.shape(0) != columns || r.shape(1) != columns || d.shape(0) != columns ||
        levels.shape(0) == 0)
        throw std::invalid_argument("matrices whose shapes do not belong together");
    Result chosen = make_array<double>({rows, columns}), left = make_array<double>({rows});
    const Columns c{static_cast<std::int64_t>(rows),
                    static_cast<std::int64_t>(columns),
                    original.data(),
                    step.data(),
                    offset.data(),
                    r.data(),
                    d.data(),
                    levels.data(),
                    static_cast<std::int64_t>(levels.shape(0)),
                    even};
    nb::gil_scoped_release release;
    round_columns(c, chosen.data(), left.data(), on_threads(threads));
    return {chosen, left};
}

std::tuple<Result, Result> descend_rows(const Grid& start, const Grid& wanted, const Grid& step, const Grid& offset,
                                        const Grid& low, const Grid& high, const Grid& h, const Vector<double>& levels,
                                        bool even, int sweeps, int threads) {
    const std::size_t rows = start.shape(0), columns = start.shape(1);
    for (const Grid* other : {&wanted, &step, &offset, &low, &high})
        if (other->shape(0) != rows || other->shape(1) != columns)
            throw std::invalid_argument("matrices whose shapes do not belong together");
    if (h.shape(0) != columns || h.shape(1) != columns || levels.shape(0) == 0)
        throw std::invalid_argument("matrices whose shapes do not belong together");
    Result chosen = make_array<double>({rows, columns}), errors = make_array<double>({rows});
    std::copy_n(start.data(), rows * columns, chosen.data());
    const Descent c{static_cast<std::int64_t>(rows),
                    static_cast<std::int64_t>(columns),
                    wanted.data(),
                    step.data(),
                    offset.data(),
                    low.data(),
                    high.data(),
                    h.data(),
                    levels.data(),
                    static_cast<std::int64_t>(levels.shape(0)),
                    even,
                    sweeps};
    nb::gil_scoped_release release;
    descend(c, chosen.data(), errors.data(), on_threads(threads));
    return {chosen, errors};
}

}  // namespace

void bind_solve(nb::module_& m) {
    m.def("factor_upper", &factor, nb::arg("h"), nb::arg("threads") = 1,
          "Return R, unit upper triangular, and D with H = R diag(D) RT; H's upper triangle is read.");
    m.def("round_columns", &round_in_order, nb::arg("original"), nb::arg("step"), nb::arg("offset"), nb::arg("r"),
          nb::arg("d"), nb::arg("levels"), nb::arg("even"), nb::arg("threads") = 1,
          "Round columns one after the other; return the levels, and for each row the sum of d * error^2.");
    m.def("descend", &descend_rows, nb::arg("start"), nb::arg("wanted"), nb::arg("step"), nb::arg("offset"),
          nb::arg("low"), nb::arg("high"), nb::arg("h"), nb::arg("levels"), nb::arg("even"), nb::arg("sweeps"),
          nb::arg("threads") = 1, "Lower the errors of rows' products level by level; return the levels and errors.");
}

}  // namespace intact
