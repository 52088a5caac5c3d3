#include "bindings/bind_kernels.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bind_draw.h"
#include "bindings/bind_pool.h"
#include "bindings/bind_scheme.h"
#include "runtime/limits.h"
#include "runtime/routing.h"
#include "runtime/sample.h"
#include "runtime/view.h"
#include "runtime/weight.h"
#include "tiers/tiers.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

template <class T> using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Grid = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Array = nb::ndarray<nb::numpy, T>;

constexpr std::int64_t kMostColumns = 32768;  // what the 32-bit sums of a matrix product hold
constexpr std::int64_t kMostWidth = 512;      // of a head

template <class T> Array<T> make_array(std::vector<std::size_t> shape) {
    std::size_t count = 1;
    for (const std::size_t n : shape) count *= n;
    auto* data = new T[std::max<std::size_t>(count, 1)]();
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return {data, shape.size(), shape.data(), owner};
}

template <class T> Array<T> copy_of(const std::vector<T>& from, std::vector<std::size_t> shape) {
    Array<T> out = make_array<T>(std::move(shape));
    std::copy_n(from.data(), out.size(), out.data());
    return out;
}

void demand(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

const Kernels& tier_of(const std::string& name) { return find_tier(name).kernels(); }

std::vector<std::string> tiers() {
    std::vector<std::string> names;
    for (const Tier& tier : available_tiers()) names.emplace_back(tier.name);
    return names;
}

std::vector<std::string> missing() {
    const std::vector<std::string_view> names = missing_tiers();
    return {names.begin(), names.end()};
}

std::optional<std::string> faster() {
    const std::optional<std::string_view> name = faster_tier();
    return name ? std::optional(std::string(*name)) : std::nullopt;
}

// Entry points of a tier's code, including the sampling functions built on it (`draw` and `log_probability`).
nb::dict entry_points(const std::string& tier) {
    const Kernels& k = tier_of(tier);
    nb::dict out;
    const auto put = [&out](const char* name, auto function) {
        out[name] = reinterpret_cast<std::uintptr_t>(function);
    };
    put("quantize_narrow", k.quantize_narrow);
    put("quantize_wide", k.quantize_wide);
    put("quantize_to", k.quantize_to);
    put("sparsify", k.sparsify);
    put("hadamard", k.hadamard);
    put("matmul", k.products.matmul);
    put("norm_narrow", k.norm_narrow);
    put("norm_wide", k.norm_wide);
    put("sine_cosine", k.sine_cosine);
    put("rotate", k.rotate);
    put("gate", k.gate);
    put("sigmoid", k.sigmoid);
    put("soft_cap", k.soft_cap);
    put("add_scaled", k.add_scaled);
    put("expect", k.expect);
    put("append", k.append);
    put("attend", k.attend);
    put("weights", k.weights);
    put("peaks", k.peaks);
    put("above", k.above);
    put("compress", k.compress);
    put("masses", k.masses);
    put("multiply_adds", k.multiply_adds);
    put("read_bytes", k.read_bytes);
    put("draw", &draw);
    put("top", &top);
    put("read_row", &read_row);
    put("log_probability", &log_probability);
    return out;
}

// Quantised rows with separately allocated parts.
struct Rows {
    std::int64_t rows, blocks, stride, minima_stride;
    std::vector<std::int8_t> codes;
    std::vector<std::int32_t> scale, half_sums, exponent, minima32_exp, minima16_exp, scratch;
    std::vector<std::int16_t> minima32, minima16;

    Rows(std::size_t count, std::size_t columns)
        : rows(static_cast<std::int64_t>(count)), blocks((static_cast<std::int64_t>(columns) + 31) / 32) {
        demand(rows >= 1 && columns >= 1 && static_cast<std::int64_t>(columns) <= kMostColumns,
               "rows must be at least one, of 1 to 32768 values");
        stride = blocks * 32 + 64;
        minima_stride = blocks + blocks % 2;
        const auto size = [&](std::int64_t each) { return static_cast<std::size_t>(rows * each); };
        codes.resize(size(stride));
        scale.resize(size(blocks));
        half_sums.resize(size(2 * blocks));
        minima32.resize(size(minima_stride));
        minima16.resize(size(2 * minima_stride));
        scratch.resize(size(2 * blocks));
        exponent.resize(size(1));
        minima32_exp.resize(size(1));
        minima16_exp.resize(size(1));
    }

    Activations view() const {
        auto& self = const_cast<Rows&>(*this);
        Activations a{};
        a.blocks = blocks;
        a.stride = stride;
        a.codes = self.codes.data();
        a.scale = self.scale.data();
        a.half_sums = self.half_sums.data();
        a.exponent = self.exponent.data();
        a.minima32 = self.minima32.data();
        a.minima16 = self.minima16.data();
        a.minima32_exp = self.minima32_exp.data();
        a.minima16_exp = self.minima16_exp.data();
        a.minima_stride = minima_stride;
        a.minima_scratch = self.scratch.data();
        return a;
    }

    Array<std::int8_t> code_rows() const {
        const auto width = static_cast<std::size_t>(blocks * 32);
        auto out = make_array<std::int8_t>({static_cast<std::size_t>(rows), width});
        for (std::int64_t m = 0; m < rows; m++)
            std::memcpy(out.data() + m * blocks * 32, codes.data() + m * stride, width);
        return out;
    }
    template <class T> Array<T> grid(const std::vector<T>& from) const {
        return copy_of(from, {static_cast<std::size_t>(rows), from.size() / static_cast<std::size_t>(rows)});
    }
    template <class T> Array<T> line(const std::vector<T>& from) const { return copy_of(from, {from.size()}); }
};

Rows quantize_narrow(const std::string& tier, const Grid<const std::int32_t>& x, int fraction) {
    const Kernels& k = tier_of(tier);
    Rows out(x.shape(0), x.shape(1));
    const auto n = static_cast<std::int64_t>(x.shape(1));
    for (std::int64_t m = 0; m < out.rows; m++) k.quantize_narrow(x.data() + m * n, n, fraction, out.view(), m);
    return out;
}

Rows quantize_wide(const std::string& tier, const Grid<const std::int64_t>& x, int fraction) {
    const Kernels& k = tier_of(tier);
    Rows out(x.shape(0), x.shape(1));
    const auto n = static_cast<std::int64_t>(x.shape(1));
    for (std::int64_t m = 0; m < out.rows; m++) k.quantize_wide(x.data() + m * n, n, fraction, out.view(), m);
    return out;
}

Rows quantize_to(const std::string& tier, const Grid<const std::int64_t>& x, int fraction, std::int32_t largest,
                 int step_bits, int mantissa, bool power, bool whole_row) {
    const Kernels& k = tier_of(tier);
    const Scheme scheme = checked({largest, step_bits, mantissa, power, whole_row});
    Rows out(x.shape(0), x.shape(1));
    const auto n = static_cast<std::int64_t>(x.shape(1));
    for (std::int64_t m = 0; m < out.rows; m++) k.quantize_to(x.data() + m * n, n, fraction, scheme, out.view(), m);
    return out;
}

void sparsify(const std::string& tier, Rows& rows, std::int64_t columns, std::int64_t keep,
              const std::optional<Vector<const std::int32_t>>& norms, bool random) {
    demand(columns >= 1 && columns <= rows.blocks * 32 && keep >= 1 && keep <= columns, "a row keeps 1 to all inputs");
    demand(!norms || static_cast<std::int64_t>(norms->shape(0)) == columns, "norms are as many as the inputs");
    const Sparsity sparsity{keep, norms ? norms->data() : nullptr, random};
    for (std::int64_t m = 0; m < rows.rows; m++) tier_of(tier).sparsify(rows.view(), m, columns, sparsity);
}

Array<std::int64_t> hadamard(const std::string& tier, const Grid<const std::int64_t>& x, std::int64_t size) {
    demand(size >= 2 && size <= 256 && !(size & (size - 1)) && static_cast<std::int64_t>(x.shape(1)) % size == 0,
           "blocks are a power of two up to 256 that fills a row");
    auto out = make_array<std::int64_t>({x.shape(0), x.shape(1)});
    std::copy_n(x.data(), x.shape(0) * x.shape(1), out.data());
    tier_of(tier).hadamard(out.data(), static_cast<std::int64_t>(x.shape(0) * x.shape(1)), size);
    return out;
}

// A weight of arbitrary integers, built from its panels (weight.h).
Weight weight_of(std::int64_t rows, std::int64_t columns, int bits, int block, int zero, int shift,
                 const std::optional<Vector<const std::int16_t>>& table, const Vector<const std::uint8_t>& codes,
                 const Vector<const std::int16_t>& scales, const std::optional<Vector<const std::int16_t>>& minima,
                 const Vector<const std::int32_t>& scale_exp,
                 const std::optional<Vector<const std::int32_t>>& minimum_exp) {
    demand(rows >= 1 && columns >= 1 && columns <= kMostColumns, "a weight needs outputs, and 1 to 32768 inputs");
    demand(Weight::has_product(bits, block, table.has_value()), "there is no product for codes of such bits and block");
    demand(shift >= 0 && shift <= 15, "shift must lie in 0..15");
    demand(!table || table->shape(0) == static_cast<std::size_t>(Weight::entries(bits)),
           "a table has an entry for each code, but 16 at least");
    demand(minima.has_value() == minimum_exp.has_value(), "minima and minimum_exp come together");
    Weight w;
    w.rows = rows;
    w.columns = columns;
    w.bits = bits;
    w.block = block;
    w.zero = zero;
    w.shift = shift;
    w.has_min = minima.has_value();
    if (table) w.set_table(table->data());
    w.allocate();
    const auto fill = [](auto* to, const auto& from, std::int64_t count) {
        demand(static_cast<std::int64_t>(from.shape(0)) == count, "an array has the wrong length for the panels");
        std::copy_n(from.data(), count, to);
    };
    fill(w.codes, codes, w.panels() * w.blocks() * w.block_bytes());
    fill(w.scales.plain, scales, w.panels() * w.pairs() * 2 * Weight::kPanel);
    fill(w.scale_exp, scale_exp, w.panels() * Weight::kPanel);
    if (minima) {
        fill(w.minima.plain, *minima, w.panels() * w.pairs() * 2 * Weight::kPanel);
        fill(w.minimum_exp, *minimum_exp, w.panels() * Weight::kPanel);
    }
    return w;
}

using Range = std::optional<std::tuple<std::int64_t, std::int64_t>>;

void matmul(const std::string& tier, const Weight& w, const Rows& a, Output out, std::size_t height, std::size_t width,
            const std::optional<Vector<const std::int64_t>>& bias, const Range& rows, const Range& panels,
            int times = 1) {
    const auto [row0, row1] = rows.value_or(std::tuple(std::int64_t{0}, a.rows));
    const auto [panel0, panel1] = panels.value_or(std::tuple(std::int64_t{0}, w.panels()));
    demand(a.blocks == w.blocks(), "the rows' width is not the number of the weight's inputs");
    demand(static_cast<std::int64_t>(height) == a.rows && static_cast<std::int64_t>(width) >= w.rows,
           "out must have a row for every row, and a column for every output");
    demand(!bias || static_cast<std::int64_t>(bias->shape(0)) == w.rows, "bias must have an element for every output");
    demand(0 <= row0 && row0 <= row1 && row1 <= a.rows, "rows lie outside");
    demand(0 <= panel0 && panel0 <= panel1 && panel1 <= w.panels(), "panels lie outside");
    out.stride = static_cast<std::int64_t>(width);
    out.bias = bias ? bias->data() : nullptr;
    const Kernels& k = tier_of(tier);
    const Buffer room(static_cast<std::size_t>(4 * matmul_scratch(w.blocks(), k.products.row_bytes)));
    auto* scratch = reinterpret_cast<std::int32_t*>(room.data());
    const Matrix matrix = view(w);
    for (int i = 0; i < times; i++)
        k.products.matmul(matrix, a.view(), row0, row1, panel0, panel1, out, scratch, false);
}

Gain gain_of(const Vector<const std::int32_t>& factor, int exponent, std::int64_t epsilon, std::size_t width) {
    demand(factor.shape(0) == width && width >= 1, "factor must have an element for every value");
    return {factor.data(), static_cast<std::int64_t>(width), exponent, epsilon};
}

// Keys and values of one layer and KV head, on as many pages as the positions need.
class Cache {
public:
    Cache(std::int64_t width, std::int64_t page_size) : width_(width), page_size_(page_size) {
        demand(width >= 1 && width <= kMostWidth, "heads are 1 to 512 wide");
        demand(page_size >= 16 && page_size % 16 == 0, "page_size must be a multiple of 16");
    }
    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;

    void append(const std::string& tier, const Vector<const std::int32_t>& key, const Vector<const std::int32_t>& value,
                std::int64_t position) {
        demand(static_cast<std::int64_t>(key.shape(0)) == width_ && static_cast<std::int64_t>(value.shape(0)) == width_,
               "key and value must be as wide as the head");
        demand(position >= 0 && position < std::int64_t{1} << 20, "position must lie in 0..2^20");
        while (position >= static_cast<std::int64_t>(pages_.size()) * page_size_) {
            const auto bytes = static_cast<std::size_t>(page_size_ * (3 * depth() + 8));
            pages_.emplace_back(bytes);
            std::memset(pages_.back().data(), 0, bytes);
            addresses_.push_back(pages_.back().data());
        }
        tier_of(tier).append(key.data(), value.data(), width_, view(), position);
    }

    Array<std::int32_t> attend(const std::string& tier, const Grid<const std::int32_t>& queries,
                               const Vector<const std::int64_t>& first, const Vector<const std::int64_t>& last,
                               std::int64_t mantissa, int exponent, const std::vector<std::int64_t>& cuts,
                               const std::tuple<std::int64_t, std::int64_t>& cap,
                               std::optional<std::int32_t> sink) const {
        const Kernels& k = tier_of(tier);
        const auto count = static_cast<std::int64_t>(queries.shape(0));
        demand(static_cast<std::int64_t>(queries.shape(1)) == width_, "queries must be as wide as the head");
        demand(first.shape(0) == queries.shape(0) && last.shape(0) == queries.shape(0), "a query needs first and last");
        for (std::int64_t i = 0; i < count; i++)
            demand(0 <= first.data()[i] && first.data()[i] <= last.data()[i] &&
                       last.data()[i] < static_cast<std::int64_t>(pages_.size()) * page_size_,
                   "visible positions lie outside the pages");
        auto out = make_array<std::int32_t>({queries.shape(0), queries.shape(1)});
        std::vector<Query> list;
        std::int64_t most = 0;
        for (std::int64_t i = 0; i < count; i++) {
            list.push_back({queries.data() + i * width_, first.data()[i], last.data()[i] + 1, 0,
                            out.data() + i * width_, addresses_.data(), sink.value_or(kNoSink)});
            most = std::max(most, last.data()[i] + 1);
        }
        std::vector<Segment> segments;
        std::int64_t begin = 0;
        for (const std::int64_t cut : cuts) {
            demand(begin < cut && cut % 16 == 0, "cuts are ascending multiples of 16");
            segments.push_back({begin, cut, 0, static_cast<int>(count)});
            begin = cut;
        }
        const std::int64_t slots = (most + 15) / 16 * 16;
        if (begin < slots) segments.push_back({begin, slots, 0, static_cast<int>(count)});
        Buffer scratch(static_cast<std::size_t>(attend_bytes(count, slots, depth())));
        k.attend(list.data(), static_cast<int>(count), segments.data(), static_cast<int>(segments.size()), width_,
                 {mantissa, exponent, {std::get<0>(cap), std::get<1>(cap)}}, view(), scratch.data());
        return out;
    }

private:
    std::int64_t depth() const { return (width_ + 15) / 16 * 16; }
    HeadCache view() const {
        const std::int64_t values = page_size_ * depth() * 2, scales = values + page_size_ * depth();
        return {addresses_.data(), page_size_, depth(), 0, values, scales, scales + page_size_ * 4};
    }

    std::int64_t width_, page_size_;
    std::vector<Buffer> pages_;
    std::vector<std::uint8_t*> addresses_;
};

void check_logits(const Vector<const std::int32_t>& logits, std::int64_t token = 0) {
    demand(logits.shape(0) >= 1 && token >= 0 && token < static_cast<std::int64_t>(logits.shape(0)),
           "a row of logits must hold the token");
}

void bind_rows(nb::module_& m) {
    const auto copies = nb::rv_policy::move;
    nb::class_<Rows>(m, "Rows", "Quantised rows (docs/spec/numerics.md, section 3); sums are those of 16 codes.")
        .def_prop_ro("codes", &Rows::code_rows, copies)
        .def_prop_ro(
            "scale", [](const Rows& r) { return r.grid(r.scale); }, copies)
        .def_prop_ro(
            "sums", [](const Rows& r) { return r.grid(r.half_sums); }, copies)
        .def_prop_ro(
            "exponent", [](const Rows& r) { return r.line(r.exponent); }, copies)
        .def_prop_ro(
            "minima32", [](const Rows& r) { return r.grid(r.minima32); }, copies)
        .def_prop_ro(
            "minima16", [](const Rows& r) { return r.grid(r.minima16); }, copies)
        .def_prop_ro(
            "minima32_exp", [](const Rows& r) { return r.line(r.minima32_exp); }, copies)
        .def_prop_ro("minima16_exp", [](const Rows& r) { return r.line(r.minima16_exp); }, copies);
    m.def("quantize", &quantize_narrow, "tier"_a, "x"_a, "fraction"_a, "Quantise narrow rows (M, K).");
    m.def("quantize_wide", &quantize_wide, "tier"_a, "x"_a, "fraction"_a = 20, "Quantise wide rows (M, K).");
    m.def("quantize_to", &quantize_to, "tier"_a, "x"_a, "fraction"_a, "largest"_a, "step_bits"_a, "mantissa"_a,
          "power"_a, "whole_row"_a, "Quantise wide rows (M, K) on another grid.");
    m.def("sparsify", &sparsify, "tier"_a, "rows"_a, "columns"_a, "keep"_a, "norms"_a.none(), "random"_a,
          "Set all but the inputs of the largest scores to zero, in place.");
    m.def("hadamard", &hadamard, "tier"_a, "x"_a, "size"_a, "Rotate blocks of rows (M, K).");
}

void bind_matmul(nb::module_& m) {
    m.def("weight", &weight_of, "rows"_a, "columns"_a, "bits"_a, "block"_a, "zero"_a, "shift"_a, "table"_a.none(),
          "codes"_a, "scales"_a, "minima"_a.none(), "scale_exp"_a, "minimum_exp"_a.none(),
          "Make a weight of any integers from its panels.");
    m.def(
        "matmul",
        [](const std::string& tier, const Weight& w, const Rows& a, const Grid<std::int32_t>& out, int fraction,
           const std::optional<Vector<const std::int64_t>>& bias, const Range& rows, const Range& panels, int times) {
            matmul(tier, w, a, {fraction, out.data(), nullptr, false, 0, nullptr}, out.shape(0), out.shape(1), bias,
                   rows, panels, times);
        },
        "tier"_a, "weight"_a, "x"_a, "out"_a.noconvert(), "fraction"_a, "bias"_a = nb::none(), "rows"_a = nb::none(),
        "panels"_a = nb::none(), "times"_a = 1,
        "Multiply rows by panels into a narrow out (M, N or more): int32, saturated; `times` over, for timing.");
    m.def(
        "matmul_wide",
        [](const std::string& tier, const Weight& w, const Rows& a, const Grid<std::int64_t>& out, int fraction,
           bool accumulate, const std::optional<Vector<const std::int64_t>>& bias, const Range& rows,
           const Range& panels) {
            matmul(tier, w, a, {fraction, nullptr, out.data(), accumulate, 0, nullptr}, out.shape(0), out.shape(1),
                   bias, rows, panels);
        },
        "tier"_a, "weight"_a, "x"_a, "out"_a.noconvert(), "fraction"_a = 20, "accumulate"_a = false,
        "bias"_a = nb::none(), "rows"_a = nb::none(), "panels"_a = nb::none(),
        "Multiply rows by panels into a wide out (M, N or more): int64, set or added to.");
}

void bind_row_kernels(nb::module_& m) {
    m.def(
        "norm",
        [](const std::string& tier, const Vector<const std::int64_t>& x, const Vector<const std::int32_t>& factor,
           int exponent, std::int64_t epsilon) {
            auto out = make_array<std::int32_t>({x.shape(0)});
            tier_of(tier).norm_wide(x.data(), gain_of(factor, exponent, epsilon, x.shape(0)), out.data(), nullptr,
                                    false);
            return out;
        },
        "tier"_a, "x"_a, "factor"_a, "exponent"_a, "epsilon"_a,
        "Norm of a wide row, with 30 - exponent fraction bits.");
    m.def(
        "norm_wide",
        [](const std::string& tier, const Vector<const std::int64_t>& x, const Vector<const std::int32_t>& factor,
           int exponent, std::int64_t epsilon, const Vector<std::int64_t>& out, bool accumulate) {
            demand(out.shape(0) == x.shape(0), "out must be as long as x");
            tier_of(tier).norm_wide(x.data(), gain_of(factor, exponent, epsilon, x.shape(0)), nullptr, out.data(),
                                    accumulate);
        },
        "tier"_a, "x"_a, "factor"_a, "exponent"_a, "epsilon"_a, "out"_a.noconvert(), "accumulate"_a,
        "Norm of a wide row in Q20, set or added to `out`.");
    m.def(
        "norm_head",
        [](const std::string& tier, const Vector<const std::int32_t>& x, const Vector<const std::int32_t>& factor,
           int exponent, std::int64_t epsilon) {
            auto out = make_array<std::int32_t>({x.shape(0)});
            tier_of(tier).norm_narrow(x.data(), gain_of(factor, exponent, epsilon, x.shape(0)), 16, out.data());
            return out;
        },
        "tier"_a, "x"_a, "factor"_a, "exponent"_a, "epsilon"_a, "Norm of a head in Q16.");
    m.def(
        "sine_cosine",
        [](const std::string& tier, std::int64_t position, const Vector<const std::uint64_t>& turns) {
            auto sine = make_array<std::int32_t>({turns.shape(0)}), cosine = make_array<std::int32_t>({turns.shape(0)});
            tier_of(tier).sine_cosine(position, turns.data(), static_cast<std::int64_t>(turns.shape(0)), sine.data(),
                                      cosine.data());
            return nb::make_tuple(sine, cosine);
        },
        "tier"_a, "position"_a, "turns"_a);
    m.def(
        "rotate",
        [](const std::string& tier, const Vector<const std::int32_t>& head, const Vector<const std::int32_t>& sine,
           const Vector<const std::int32_t>& cosine, bool interleaved) {
            demand(sine.shape(0) == cosine.shape(0) && 2 * sine.shape(0) <= head.shape(0),
                   "sine and cosine must be alike, and half as long as the head at most");
            auto out = make_array<std::int32_t>({head.shape(0)});
            std::copy_n(head.data(), head.shape(0), out.data());
            tier_of(tier).rotate(out.data(), sine.data(), cosine.data(), static_cast<std::int64_t>(sine.shape(0)),
                                 interleaved);
            return out;
        },
        "tier"_a, "head"_a, "sine"_a, "cosine"_a, "interleaved"_a);
    m.def(
        "gate",
        [](const std::string& tier, const Vector<const std::int32_t>& gate, const Vector<const std::int32_t>& up,
           int kind) {
            demand(gate.shape(0) == up.shape(0), "gate and up must be alike");
            demand(kind >= 0 && kind < kGateKinds, "no such gate");
            auto out = make_array<std::int64_t>({gate.shape(0)});
            tier_of(tier).gate(gate.data(), up.data(), static_cast<std::int64_t>(gate.shape(0)),
                               static_cast<GateKind>(kind), out.data());
            return out;
        },
        "tier"_a, "gate"_a, "up"_a, "kind"_a, "kind counts numerics.gate.GATES.");
    m.def(
        "sigmoid",
        [](const std::string& tier, const Vector<const std::int32_t>& x) {
            auto out = make_array<std::int32_t>({x.shape(0)});
            tier_of(tier).sigmoid(x.data(), static_cast<std::int64_t>(x.shape(0)), out.data());
            return out;
        },
        "tier"_a, "x"_a);
    m.def(
        "choose_experts",
        [](const std::string& tier, const Vector<const std::int32_t>& scores, std::int64_t used, int weights,
           std::int64_t factor, const std::optional<Vector<const std::int64_t>>& bias, std::int64_t groups,
           std::int64_t groups_used, const std::optional<Vector<const std::int64_t>>& scale) {
            const auto n = static_cast<std::int64_t>(scores.shape(0));
            demand(used >= 1 && used <= n && weights >= 0 && weights < kExpertWeights,
                   "a row passes some of its experts");
            demand((!bias || bias->shape(0) == scores.shape(0)) && (!scale || scale->shape(0) == scores.shape(0)),
                   "every expert has a bias, or none, and a scale, or none");
            demand(groups >= 1 && n % groups == 0 && groups_used >= 1 && groups_used <= groups &&
                       used <= n / groups * groups_used && (groups_used == groups || n / groups >= 2),
                   "experts form groups of one size, at least two, that hold those of a row");
            std::vector<ExpertChoice> chosen(static_cast<std::size_t>(used));
            choose_experts(scores.data(), n, bias ? bias->data() : nullptr, scale ? scale->data() : nullptr,
                           {used, static_cast<ExpertWeights>(weights), factor, 1, groups, groups_used}, tier_of(tier),
                           chosen.data());
            auto out = make_array<std::int32_t>({chosen.size(), 2});
            for (std::size_t i = 0; i < chosen.size(); i++) {
                out.data()[2 * i] = chosen[i].expert;
                out.data()[2 * i + 1] = chosen[i].weight;
            }
            return out;
        },
        "tier"_a, "scores"_a, "used"_a, "weights"_a, "factor"_a, "bias"_a.none() = nb::none(), "groups"_a = 1,
        "groups_used"_a = 1, "scale"_a.none() = nb::none(), "Experts and weights of a row (used, 2).");
    m.def(
        "soft_cap",
        [](const std::string& tier, const Vector<const std::int32_t>& x, std::int64_t slope, std::int64_t limit) {
            auto out = make_array<std::int32_t>({x.shape(0)});
            std::copy_n(x.data(), x.shape(0), out.data());
            tier_of(tier).soft_cap(out.data(), static_cast<std::int64_t>(x.shape(0)), {slope, limit});
            return out;
        },
        "tier"_a, "x"_a, "slope"_a, "limit"_a);
    m.def(
        "add_scaled",
        [](const std::string& tier, const Vector<const std::int64_t>& x, const Vector<const std::int64_t>& y,
           std::int32_t factor) {
            demand(x.shape(0) == y.shape(0), "x and y must be alike");
            auto out = make_array<std::int64_t>({x.shape(0)});
            std::copy_n(x.data(), x.shape(0), out.data());
            tier_of(tier).add_scaled(y.data(), static_cast<std::int64_t>(x.shape(0)), factor, out.data());
            return out;
        },
        "tier"_a, "x"_a, "y"_a, "factor"_a);
}

void bind_sampling(nb::module_& m) {
    m.def(
        "weights",
        [](const std::string& tier, const Vector<const std::int32_t>& logits, std::int64_t slope) {
            check_logits(logits);
            demand(slope >= 1, "slope must be positive");
            auto out = make_array<std::int32_t>({logits.shape(0)});
            std::int64_t mass = 0;
            const auto n = static_cast<std::int64_t>(logits.shape(0));
            tier_of(tier).weights(logits.data(), n, *std::max_element(logits.data(), logits.data() + n), slope,
                                  out.data(), &mass);
            return nb::make_tuple(out, mass);
        },
        "tier"_a, "logits"_a, "slope"_a, "Unnormalised probabilities in Q30 before the filters, and their sum.");
    m.def(
        "masses",
        [](const std::string& tier, const Vector<const std::int32_t>& logits, std::int64_t slope) {
            check_logits(logits);
            demand(slope >= kLeastSlope, "slope is too small");
            const auto n = static_cast<std::int64_t>(logits.shape(0));
            auto sums = make_array<std::int64_t>({(logits.shape(0) + kMassRun - 1) / kMassRun});
            const std::int64_t mass = tier_of(tier).masses(
                logits.data(), n, *std::max_element(logits.data(), logits.data() + n), slope, sums.data());
            return nb::make_tuple(sums, mass);
        },
        "tier"_a, "logits"_a, "slope"_a, "Sums of runs of 512 weights, and of all.");
    m.def(
        "draw",
        [](const std::string& tier, const Vector<const std::int32_t>& logits, const DrawArguments& given) {
            check_logits(logits);
            const auto n = static_cast<std::int64_t>(logits.shape(0));
            const DrawOf checked(given, n);
            return draw(tier_of(tier), read_row(tier_of(tier), logits.data(), n), checked.draw());
        },
        "tier"_a, "logits"_a, "draw"_a);
    m.def(
        "top",
        [](const std::string& tier, const Vector<const std::int32_t>& logits, std::int64_t k) {
            check_logits(logits);
            const auto n = static_cast<std::int64_t>(logits.shape(0));
            demand(k >= 1 && k <= n, "k must be from 1 to the number of logits");
            auto tokens = make_array<std::int32_t>({static_cast<std::size_t>(k)});
            top(tier_of(tier), read_row(tier_of(tier), logits.data(), n), k, tokens.data());
            return tokens;
        },
        "tier"_a, "logits"_a, "k"_a);
    m.def(
        "log_probability",
        [](const std::string& tier, const Vector<const std::int32_t>& logits, std::int64_t token) {
            check_logits(logits, token);
            const Kernels& kernel = tier_of(tier);
            return log_probability(read_row(kernel, logits.data(), static_cast<std::int64_t>(logits.shape(0))), token);
        },
        "tier"_a, "logits"_a, "token"_a);
}

}  // namespace

void bind_kernels(nb::module_& parent) {
    nb::module_ m = parent.def_submodule("kernels", "Every kernel of every tier, one call each.");
    m.def("has_product", &Weight::has_product, "bits"_a, "block"_a, "table"_a,
          "Whether there is a product for codes of so many bits in such blocks, with a table or without.");
    m.def("tiers", &tiers, "Names of the tiers that this build and this machine have, best first.");
    m.def("faster_tier", &faster, "The first missing tier if it is faster than all that this build has, else None.");
    m.def("missing_tiers", &missing,
          "Names of the tiers that this machine could run and this build lacks, best first.");
    m.def("entry_points", &entry_points, "tier"_a, "Addresses of a tier's kernels.");
    m.def(
        "limits",
        [](const std::string& tier, int threads) {
            demand(threads >= 1, "threads must be positive");
            const nb::gil_scoped_release release;
            const Limits limits = measure_limits(tier_of(tier), threads);
            return std::tuple(limits.multiply_adds, limits.bytes);
        },
        "tier"_a, "threads"_a, "Products of a thread, and bytes that all threads read from memory, a second.");
    bind_pool(m);
    bind_rows(m);
    bind_matmul(m);
    bind_row_kernels(m);
    bind_sampling(m);
    nb::class_<Cache>(m, "Cache", "Keys and values of one layer and KV head.")
        .def(nb::init<std::int64_t, std::int64_t>(), "width"_a, "page_size"_a)
        .def("append", &Cache::append, "tier"_a, "key"_a, "value"_a, "position"_a)
        .def("attend", &Cache::attend, "tier"_a, "queries"_a, "first"_a, "last"_a, "mantissa"_a, "exponent"_a,
             "cuts"_a = std::vector<std::int64_t>(), "cap"_a = std::tuple<std::int64_t, std::int64_t>(0, 0),
             "sink"_a = nb::none(),
             "Attend; first and last are the visible positions of each query, cuts where segments end.");
}

}  // namespace intact
