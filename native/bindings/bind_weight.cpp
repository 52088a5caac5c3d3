#include "bindings/bind_weight.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/bind_arrays.h"
#include "formats/convert.h"
#include "runtime/view.h"

namespace nb = nanobind;

namespace intact {
namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T> using Array = nb::ndarray<nb::numpy, T>;

[[noreturn]] void raise(const char* type, const std::string& message) {
    PyErr_SetString(nb::module_::import_("intact._base.errors").attr(type).ptr(), message.c_str());
    throw nb::python_error();
}

template <class T> Array<T> array(std::unique_ptr<T[]> data, std::initializer_list<std::size_t> shape) {
    T* const raw = data.get();
    nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    data.release();
    return Array<T>(raw, shape, owner);
}

template <class T> std::unique_ptr<T[]> uninitialised(std::int64_t count) {
    return std::make_unique_for_overwrite<T[]>(static_cast<std::size_t>(count));
}

Weight convert_checked(const std::string& name, const Bytes& data, std::int64_t rows, std::int64_t columns, int bits,
                       int threads) {
    const WeightFormat* format = find_format(name);
    if (format == nullptr)
        raise("ParameterError", "unknown tensor kind '" + name + "': it cannot become an integer weight");
    if (is_float(*format) && bits != 8 && bits != 4)
        raise("ParameterError", std::to_string(bits) + " bits for a float matrix: it should be 8 or 4");
    if (rows < 0 || columns < 0 || columns % format->values != 0)
        raise("ParameterError", std::to_string(columns) + " columns of " + name + ": a row should be a multiple of " +
                                    std::to_string(format->values));
    const std::int64_t wanted = source_bytes(*format, rows, columns);
    if (static_cast<std::int64_t>(data.size()) != wanted)
        raise("ParameterError", std::to_string(data.size()) + " bytes for a " + name + " matrix of shape (" +
                                    std::to_string(rows) + ", " + std::to_string(columns) + "): it should have " +
                                    std::to_string(wanted));
    Converted result;
    {
        nb::gil_scoped_release release;
        result = convert(*format, data.data(), rows, columns, bits, on_threads(std::max(1, threads)));
    }
    if (result.error) {
        const std::string what = is_float(*format) ? "weight" : name + " scale";
        raise("ModelError", "the " + what + " at row " + std::to_string(result.error->row) + ", column " +
                                std::to_string(result.error->column) +
                                " is NaN or infinite: every weight should be finite");
    }
    return std::move(result.weight);
}

template <class T, int N> using Shaped = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

Weight pack_checked(const Shaped<std::uint8_t, 2>& codes, std::int64_t columns, int bits, int block, int zero,
                    int shift, const std::optional<Shaped<std::int16_t, 1>>& table,
                    const Shaped<std::int16_t, 2>& scale, const Shaped<std::int32_t, 1>& scale_exp,
                    const std::optional<Shaped<std::int16_t, 2>>& minimum,
                    const std::optional<Shaped<std::int32_t, 1>>& minimum_exp, int threads) {
    const auto rows = static_cast<std::int64_t>(codes.shape(0)), padded = static_cast<std::int64_t>(codes.shape(1));
    const auto fits = [&](const auto& scales, const auto& exponents) {
        return static_cast<std::int64_t>(scales.shape(0)) == rows &&
               static_cast<std::int64_t>(scales.shape(1)) * block == padded &&
               static_cast<std::int64_t>(exponents.shape(0)) == rows;
    };
    if (!Weight::has_product(bits, block, table.has_value()))
        raise("ParameterError", "codes of " + std::to_string(bits) + " bits in blocks of " + std::to_string(block) +
                                    (table ? " with a table" : "") + ": there is no product for them");
    if (rows < 1 || columns < 1 || padded != (columns + 31) / 32 * 32 || !fits(scale, scale_exp) ||
        minimum.has_value() != minimum_exp.has_value() || (minimum && !fits(*minimum, *minimum_exp)) ||
        (table && table->shape(0) != static_cast<std::size_t>(Weight::entries(bits))) || shift < 0 || shift > 15)
        raise("ParameterError", "codes, scales and exponents whose shapes do not belong together");
    const IntegerRows source{rows,
                             columns,
                             bits,
                             block,
                             zero,
                             shift,
                             table ? table->data() : nullptr,
                             codes.data(),
                             scale.data(),
                             scale_exp.data(),
                             minimum ? minimum->data() : nullptr,
                             minimum_exp ? minimum_exp->data() : nullptr};
    nb::gil_scoped_release release;
    return pack_integers(source, on_threads(std::max(1, threads)));
}

nb::object form_of(const Weight& w, const BlockNumbers& x) {
    if (x.plain != nullptr) return nb::make_tuple(0, w.block);
    if (x.coarse == nullptr) return nb::none();
    const std::int64_t inputs = x.runs == 1 ? w.blocks() * Weight::kBlock : std::int64_t{2} * w.block << x.span;
    return nb::make_tuple(x.fine == nullptr ? 0 : 1, inputs);
}

nb::object table_of(const Weight& w) {
    if (!w.has_table) return nb::none();
    const int count = Weight::entries(w.bits);
    auto table = uninitialised<std::int16_t>(count);
    std::copy_n(w.table, count, table.get());
    return nb::cast(array(std::move(table), {static_cast<std::size_t>(count)}));
}

// The fields of intact.numerics.weights.BlockWeight: codes, scale, scale_exp, minimum, minimum_exp.
nb::tuple unpack(const Weight& w) {
    const auto rows = static_cast<std::size_t>(w.rows);
    const std::int64_t padded = w.blocks() * Weight::kBlock;
    const std::int64_t count = w.scale_blocks();
    auto codes = uninitialised<std::uint8_t>(w.rows * padded);
    auto scale = uninitialised<std::int16_t>(w.rows * count);
    auto minimum = uninitialised<std::int16_t>(w.rows * count);
    for (std::int64_t n = 0; n < w.rows; ++n) {
        unpack_codes(w, n, codes.get() + n * padded);
        unpack_row(w, n, nullptr, scale.get() + n * count, minimum.get() + n * count);
    }
    const auto exponents = [&](const std::int32_t* from) {
        auto copy = uninitialised<std::int32_t>(w.rows);
        std::copy_n(from, w.rows, copy.get());
        return array(std::move(copy), {rows});
    };
    const auto blocks = static_cast<std::size_t>(count);
    nb::object minima = nb::none(), minimum_exp = nb::none();
    if (w.has_min) {
        minima = nb::cast(array(std::move(minimum), {rows, blocks}));
        minimum_exp = nb::cast(exponents(w.minimum_exp));
    }
    return nb::make_tuple(array(std::move(codes), {rows, static_cast<std::size_t>(padded)}),
                          array(std::move(scale), {rows, blocks}), exponents(w.scale_exp), minima, minimum_exp);
}

nb::tuple row(const Weight& w, std::int64_t n) {
    if (n < 0 || n >= w.rows)
        raise("ParameterError", "row " + std::to_string(n) + " of a weight with " + std::to_string(w.rows) + " rows");
    const std::int64_t padded = w.blocks() * Weight::kBlock;
    auto centred = uninitialised<std::int32_t>(padded);
    auto scales = uninitialised<std::int16_t>(w.scale_blocks());
    auto minima = uninitialised<std::int16_t>(w.scale_blocks());
    unpack_row(w, n, centred.get(), scales.get(), minima.get());
    const auto blocks = static_cast<std::size_t>(w.scale_blocks());
    const nb::object minimum = w.has_min ? nb::cast(array(std::move(minima), {blocks})) : nb::none();
    return nb::make_tuple(array(std::move(centred), {static_cast<std::size_t>(padded)}),
                          array(std::move(scales), {blocks}), minimum);
}

// The raw panels, for tests of the layout: codes, scales, minima (or None), scale_exp, minimum_exp (or None).
nb::tuple panels(const Weight& w) {
    const auto copy = [](const auto* from, std::int64_t count) -> nb::object {
        if (from == nullptr) return nb::none();
        using T = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
        auto data = uninitialised<T>(count);
        std::copy_n(from, count, data.get());
        return nb::cast(array(std::move(data), {static_cast<std::size_t>(count)}));
    };
    const auto pairs = [&](const BlockNumbers& from) -> nb::object {
        if (from.plain == nullptr && from.coarse == nullptr) return nb::none();
        const std::int64_t count = w.panels() * w.pairs() * 2 * Weight::kPanel;
        auto data = uninitialised<std::int16_t>(count);
        for (std::int64_t panel = 0; panel < w.panels(); ++panel)
            for (std::int64_t b = 0; b < 2 * w.pairs(); ++b)
                for (int i = 0; i < Weight::kPanel; ++i)
                    data[static_cast<std::size_t>(panel * w.pairs() * 2 * Weight::kPanel + Weight::pair_index(b, i))] =
                        from.at(panel, w.pairs(), b, i);
        return nb::cast(array(std::move(data), {static_cast<std::size_t>(count)}));
    };
    return nb::make_tuple(copy(w.codes, w.panels() * w.blocks() * w.block_bytes()), pairs(w.scales), pairs(w.minima),
                          copy(w.scale_exp, w.panels() * Weight::kPanel),
                          copy(w.minimum_exp, w.panels() * Weight::kPanel));
}

// The number of fields, except T, that a file stores in addition to a weight's bytes.
constexpr std::size_t kStated = 25;

// Offset of a weight's array from the start of a buffer; -1 if the array is absent.
std::int64_t place(const void* data, const Buffer& buffer) {
    return data == nullptr ? -1 : static_cast<const std::uint8_t*>(data) - buffer.data();
}

std::vector<std::int64_t> places(const BlockNumbers& x, const Buffer& buffer) {
    return {place(x.plain, buffer), place(x.fine, buffer), place(x.coarse, buffer), x.span, x.runs};
}

// Returns the arguments of `map_weight`: the fields, T, and the bytes as two arrays that are views of the weight.
nb::tuple state_of(nb::handle_t<Weight> self) {
    const Weight& w = nb::cast<const Weight&>(self);
    if (w.codes == nullptr) throw std::invalid_argument("the weight belongs to a model already");
    const ExponentRanges e = w.exponents ? *w.exponents : exponent_ranges(w);
    std::vector<std::int64_t> stated = {w.rows, w.columns, w.bits, w.block, w.zero, w.shift, w.has_min};
    stated.insert(stated.end(), {place(w.codes, w.storage), place(w.scale_exp, w.storage),
                                 place(w.minimum_exp, w.storage), static_cast<std::int64_t>(w.storage.size())});
    for (const BlockNumbers* numbers : {&w.scales, &w.minima}) {
        const std::vector<std::int64_t> some = places(*numbers, w.numbers);
        stated.insert(stated.end(), some.begin(), some.end());
    }
    stated.insert(stated.end(), {e.scale_low, e.scale_high, e.minimum_low, e.minimum_high});
    const auto bytes = [&](const Buffer& buffer) {
        return nb::ndarray<nb::numpy, const std::uint8_t>(buffer.data(), {buffer.size()}, self);
    };
    return nb::make_tuple(stated, table_of(w), bytes(w.storage), bytes(w.numbers));
}

// Sets a pointer to an offset within the first `size` bytes, checking that `count` elements fit; -1 leaves it null.
template <class T>
void point(T*& to, const std::uint8_t* base, std::int64_t size, std::int64_t place, std::int64_t count) {
    if (place < 0) return;
    if (place % 4 != 0 || count < 0 || place > size || count > (size - place) / static_cast<std::int64_t>(sizeof(T)))
        raise("FormatError", "numbers of a packed weight that lie outside its bytes");
    to = reinterpret_cast<T*>(const_cast<std::uint8_t*>(base) + place);
}

void point(BlockNumbers& to, const Weight& w, const std::uint8_t* base, std::int64_t size, const std::int64_t* stated) {
    to.span = static_cast<int>(stated[3]);
    to.runs = stated[4];
    const std::int64_t all = w.panels() * w.pairs() * 2 * Weight::kPanel;
    if (to.span < 0 || to.span > 62 || to.runs < 0 || to.runs > w.pairs() ||
        (stated[2] >= 0 && (w.pairs() - 1) >> to.span >= to.runs) || (stated[1] >= 0 && stated[2] < 0))
        raise("FormatError", "scales of a packed weight in no known form");
    point(to.plain, base, size, stated[0], all);
    point(to.fine, base, size, stated[1], all);
    point(to.coarse, base, size, stated[2], w.panels() * to.runs * Weight::kPanel);
}

// Creates a weight whose bytes are in a mapped file; checks the offsets of its arrays, not their contents.
Weight map_weight(const std::vector<std::int64_t>& stated, const std::optional<Shaped<std::int16_t, 1>>& table,
                  const Bytes& data) {
    constexpr std::int64_t kMost = std::int64_t{1} << 31;
    const auto bytes = static_cast<std::int64_t>(data.size());
    if (stated.size() != kStated) raise("FormatError", "a packed weight with another number of members");
    Weight w;
    const std::int64_t* next = stated.data();
    w.rows = *next++;
    w.columns = *next++;
    w.bits = static_cast<int>(*next++);
    w.block = static_cast<int>(*next++);
    w.zero = static_cast<int>(*next++);
    w.shift = static_cast<int>(*next++);
    w.has_min = *next++ != 0;
    if (w.rows < 1 || w.rows > kMost || w.columns < 1 || w.columns > kMost ||
        !Weight::has_product(w.bits, w.block, table.has_value()) || w.shift < 0 || w.shift > 15 || next[3] < 0 ||
        next[3] > bytes || next[0] != 0 || next[1] < 0 || (next[2] < 0) == w.has_min)
        raise("FormatError", "a packed weight of a shape or kind that there is not");
    if (table && table->shape(0) != static_cast<std::size_t>(Weight::entries(w.bits)))
        raise("FormatError", "a packed weight whose table has the wrong length");
    const std::int64_t padded = w.panels() * Weight::kPanel, storage = next[3];
    point(w.codes, data.data(), storage, next[0], (w.panels() * w.blocks() + w.blocks() % 2) * w.block_bytes());
    point(w.scale_exp, data.data(), storage, next[1], padded);
    point(w.minimum_exp, data.data(), storage, next[2], padded);
    next += 4;
    for (BlockNumbers* numbers : {&w.scales, &w.minima}) {
        point(*numbers, w, data.data() + storage, bytes - storage, next);
        next += 5;
    }
    w.exponents = {static_cast<std::int32_t>(next[0]), static_cast<std::int32_t>(next[1]),
                   static_cast<std::int32_t>(next[2]), static_cast<std::int32_t>(next[3])};
    if (table) w.set_table(table->data());
    w.storage = Buffer::borrowed(data.data(), static_cast<std::size_t>(storage));
    w.numbers = Buffer::borrowed(data.data() + storage, static_cast<std::size_t>(bytes - storage));
    return w;
}

}  // namespace

void bind_weights(nb::module_& m) {
    nb::class_<Weight>(m, "Weight", "A matrix of integer codes and int16 scales, packed into panels of 16 outputs.")
        .def_ro("rows", &Weight::rows)
        .def_ro("columns", &Weight::columns)
        .def_ro("bits", &Weight::bits)
        .def_ro("block", &Weight::block)
        .def_ro("zero", &Weight::zero)
        .def_ro("shift", &Weight::shift)
        .def_ro("has_minimum", &Weight::has_min)
        .def_prop_ro("nbytes", &Weight::nbytes)
        .def_prop_ro(
            "scale_form", [](const Weight& w) { return form_of(w, w.scales); },
            "Return how scales are stored: factors a block (0 or 1), and the inputs that share one of int16.")
        .def_prop_ro(
            "minimum_form", [](const Weight& w) { return form_of(w, w.minima); }, "Return the same of minima.")
        .def_prop_ro("table", &table_of)
        .def("unpack", &unpack, "Return codes (N, Kpad), scale, scale_exp, minimum and minimum_exp, row-major.")
        .def("row", &row, nb::arg("n"), "Return T[code] - zero (Kpad), scales and minima of row n.")
        .def("state", &state_of,
             "Return what `map_weight` needs: numbers, the table or none, and its bytes as two views.")
        .def("panels", &panels, "Return copies of the packed codes, scales, minima, scale_exp and minimum_exp.");
    m.def("pack_integers", &pack_checked, nb::arg("codes"), nb::arg("columns"), nb::arg("bits"), nb::arg("block"),
          nb::arg("zero"), nb::arg("shift"), nb::arg("table").none(), nb::arg("scale"), nb::arg("scale_exp"),
          nb::arg("minimum").none(), nb::arg("minimum_exp").none(), nb::arg("threads") = 1,
          "Pack codes (N, Kpad), scales (N, blocks) and exponents (N,) into a weight.");
    m.def("map_weight", &map_weight, nb::arg("stated"), nb::arg("table").none(), nb::arg("data"),
          nb::keep_alive<0, 3>(),
          "Return the weight of which `state` gave numbers, table and bytes, joined; the bytes stay where they are.");
    m.def("convert", &convert_checked, nb::arg("kind"), nb::arg("data"), nb::arg("rows"), nb::arg("columns"),
          nb::arg("bits") = 8, nb::arg("threads") = 1,
          "Re-express a tensor's bytes as an integer weight; floats get codes of `bits` 8 or 4, block formats keep "
          "theirs.");
}

}  // namespace intact
