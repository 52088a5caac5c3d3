#include "bindings/bind_fp32.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#if defined(__x86_64__)
#    include <xmmintrin.h>
#endif

#include "tiers/tiers.h"

namespace nb = nanobind;

namespace intact {
namespace {

template <class T, int Dimensions> using In = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<nb::numpy, float>;

const Fp32Kernels& kernels_of(const std::string& tier) { return find_tier(tier).fp32; }

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

std::int64_t size(std::size_t n) { return static_cast<std::int64_t>(n); }

Out array(const std::vector<std::size_t>& shape) {
    std::size_t count = 1;
    for (std::size_t n : shape) count *= n;
    auto data = std::make_unique<float[]>(count);
    nb::capsule owner(data.get(), [](void* p) noexcept { delete[] static_cast<float*>(p); });
    return Out(data.release(), shape.size(), shape.data(), owner);
}

FloatWeight weight_of(const std::string& kind, const In<std::uint8_t, 1>& data, std::int64_t rows,
                      std::int64_t columns) {
    const WeightFormat* format = find_format(kind);
    require(format != nullptr, "unknown storage format");
    require(rows >= 0 && columns >= 0 && columns % format->values == 0, "a row must hold whole blocks");
    require(size(data.size()) == source_bytes(*format, rows, columns), "data do not fill the shape");
    return {format->kind, rows, columns, data.data(), nullptr};
}

Out linear(const std::string& tier, const std::string& kind, const In<std::uint8_t, 1>& data, std::int64_t rows,
           const In<float, 2>& x, const std::optional<In<float, 1>>& bias,
           const std::optional<std::vector<std::int64_t>>& cuts) {
    FloatWeight weight = weight_of(kind, data, rows, size(x.shape(1)));
    if (bias) {
        require(size(bias->size()) == rows, "bias must have one value per output");
        weight.bias = bias->data();
    }
    Out y = array({x.shape(0), static_cast<std::size_t>(rows)});
    std::int64_t from = 0;
    std::vector<std::int64_t> ends = cuts.value_or(std::vector<std::int64_t>{});
    ends.push_back(rows);
    for (std::int64_t to : ends) {
        require(from <= to && to <= rows, "cuts must rise within the outputs");
        kernels_of(tier).linear(weight, x.data(), size(x.shape(0)), weight.columns, y.data(), rows, from, to);
        from = to;
    }
    return y;
}

Out rmsnorm(const std::string& tier, const In<float, 2>& x, const In<float, 1>& gain, float epsilon) {
    const std::int64_t width = size(gain.size()), columns = size(x.shape(1));
    require(width > 0 && columns % width == 0, "rows must hold whole slices");
    Out y = array({x.shape(0), x.shape(1)});
    kernels_of(tier).rmsnorm(x.data(), size(x.shape(0)), columns, columns / width, width, gain.data(), epsilon,
                             y.data(), columns);
    return y;
}

Out rope(const std::string& tier, const In<float, 3>& x, const In<float, 2>& cosine, const In<float, 2>& sine,
         bool interleaved) {
    require(cosine.shape(0) == x.shape(0) && sine.shape(0) == x.shape(0), "one row of angles for each row");
    require(cosine.shape(1) == sine.shape(1) && 2 * cosine.shape(1) <= x.shape(2), "at most width / 2 angles");
    Out y = array({x.shape(0), x.shape(1), x.shape(2)});
    for (std::size_t i = 0; i < x.size(); i++) y.data()[i] = x.data()[i];
    const std::int64_t heads = size(x.shape(1)), width = size(x.shape(2));
    kernels_of(tier).rope(y.data(), size(x.shape(0)), heads * width, heads, width, cosine.data(), sine.data(),
                          size(cosine.shape(1)), interleaved);
    return y;
}

// pages: [page][head][position][width]; list: the pages in order of position.
Out attend(const std::string& tier, const In<float, 2>& q, const In<float, 4>& keys, const In<float, 4>& values,
           const std::vector<std::int64_t>& list, std::int64_t head, std::int64_t first, std::int64_t last, float scale,
           float cap, const std::optional<In<float, 1>>& sinks) {
    const std::int64_t heads = size(q.shape(0)), width = size(q.shape(1)), page_size = size(keys.shape(2));
    require(size(keys.shape(3)) == width && keys.size() == values.size(),
            "keys and values must have the queries' width");
    require(head >= 0 && head < size(keys.shape(1)), "no such head");
    require(0 <= first && first < last && last <= size(list.size()) * page_size, "positions must lie in the pages");
    std::vector<const float*> key_pages, value_pages;
    for (std::int64_t page : list) {
        require(page >= 0 && page < size(keys.shape(0)), "no such page");
        key_pages.push_back(keys.data() + page * size(keys.shape(1)) * page_size * width);
        value_pages.push_back(values.data() + page * size(keys.shape(1)) * page_size * width);
    }
    const FloatPages pages{key_pages.data(), value_pages.data(), head * page_size * width, page_size};
    std::vector<float> scratch(static_cast<std::size_t>(attend_scratch(heads, first, last)));
    Out out = array({q.shape(0), q.shape(1)});
    require(!sinks || size(sinks->size()) == heads, "every query has a sink, or none");
    kernels_of(tier).attend(q.data(), heads, width, pages, first, last, scale, cap, sinks ? sinks->data() : nullptr,
                            scratch.data(), out.data());
    return out;
}

Out gate(const std::string& tier, int kind, const In<float, 1>& g, const In<float, 1>& u) {
    require(kind >= 0 && kind < kGateKinds, "no such gate");
    require(g.size() == u.size(), "g and u must have one size");
    Out y = array({g.size()});
    kernels_of(tier).gate(static_cast<GateKind>(kind), g.data(), u.data(), y.data(), size(g.size()));
    return y;
}

Out hadamard(const std::string& tier, const In<float, 1>& x, std::int64_t n) {
    require(n >= 2 && n <= 256 && !(n & (n - 1)) && size(x.size()) % n == 0, "blocks must fill the row");
    Out y = array({x.size()});
    std::copy_n(x.data(), x.size(), y.data());
    kernels_of(tier).hadamard(y.data(), size(x.size()), n);
    return y;
}

Out layer_norm(const std::string& tier, const In<float, 1>& x, const In<float, 1>& gain,
               const std::optional<In<float, 1>>& bias, float epsilon) {
    require(x.size() == gain.size() && (!bias || bias->size() == x.size()), "gain and bias must be as long as x");
    Out y = array({x.size()});
    kernels_of(tier).layer_norm(x.data(), size(x.size()), gain.data(), bias ? bias->data() : nullptr, epsilon,
                                y.data());
    return y;
}

Out sigmoid(const std::string& tier, const In<float, 1>& x) {
    Out y = array({x.size()});
    kernels_of(tier).sigmoid(x.data(), y.data(), size(x.size()));
    return y;
}

Out soft_cap(const std::string& tier, const In<float, 1>& x, float cap) {
    Out y = array({x.size()});
    kernels_of(tier).soft_cap(x.data(), cap, y.data(), size(x.size()));
    return y;
}

Out softmax(const std::string& tier, const In<float, 1>& x) {
    require(x.size() > 0, "a softmax needs a value");
    Out y = array({x.size()});
    kernels_of(tier).softmax(x.data(), y.data(), size(x.size()));
    return y;
}

Out divide_by_sum(const std::string& tier, const In<float, 1>& x, float least) {
    Out y = array({x.size()});
    kernels_of(tier).divide_by_sum(x.data(), least, y.data(), size(x.size()));
    return y;
}

Out add_scaled(const std::string& tier, const In<float, 1>& x, float factor, const In<float, 1>& to) {
    require(x.size() == to.size(), "x and y must have one size");
    Out y = array({to.size()});
    std::copy_n(to.data(), to.size(), y.data());
    kernels_of(tier).add_scaled(x.data(), factor, y.data(), size(x.size()));
    return y;
}

Out add(const std::string& tier, const In<float, 1>& a, const In<float, 1>& b) {
    require(a.size() == b.size(), "a and b must have one size");
    Out y = array({a.size()});
    kernels_of(tier).add(a.data(), b.data(), y.data(), size(a.size()));
    return y;
}

Out multiply(const std::string& tier, const In<float, 1>& a, const In<float, 1>& b) {
    require(a.size() == b.size(), "a and b must have one size");
    Out y = array({a.size()});
    kernels_of(tier).multiply(a.data(), b.data(), y.data(), size(a.size()));
    return y;
}

Out embed(const std::string& tier, const std::string& kind, const In<std::uint8_t, 1>& data, std::int64_t rows,
          std::int64_t columns, const In<std::int32_t, 1>& ids, float scale) {
    const FloatWeight weight = weight_of(kind, data, rows, columns);
    for (std::size_t i = 0; i < ids.size(); i++) require(ids(i) >= 0 && ids(i) < rows, "ids must lie in the rows");
    Out y = array({ids.size(), static_cast<std::size_t>(columns)});
    kernels_of(tier).embed(weight, ids.data(), size(ids.size()), scale, y.data(), columns);
    return y;
}

Out exponential(const std::string& tier, const In<float, 1>& x) {
    Out y = array({x.size()});
    kernels_of(tier).exp(x.data(), y.data(), size(x.size()));
    return y;
}

Out from_q30(const std::string& tier, const In<std::int32_t, 1>& x) {
    Out y = array({x.size()});
    kernels_of(tier).from_q30(x.data(), y.data(), size(x.size()));
    return y;
}

Out dequantize(const std::string& tier, const std::string& kind, const In<std::uint8_t, 1>& data, std::int64_t rows,
               std::int64_t columns, std::int64_t row0, std::int64_t row1) {
    const FloatWeight weight = weight_of(kind, data, rows, columns);
    require(0 <= row0 && row0 <= row1 && row1 <= rows, "rows must lie in the matrix");
    Out y = array({static_cast<std::size_t>(row1 - row0), static_cast<std::size_t>(columns)});
    kernels_of(tier).dequantize(weight.kind, data.data(), columns, row0, row1, y.data());
    return y;
}

// Makes this thread flush subnormals to zero and round towards zero, as a misbehaving library might; returns the old
// state for restore_environment.
std::uint64_t spoil_environment() {
    std::uint64_t old = 0;
#if defined(__x86_64__)
    old = _mm_getcsr();
    _mm_setcsr(static_cast<unsigned>(old) | 0xe040u);
#elif defined(__aarch64__)
    asm volatile("mrs %0, fpcr" : "=r"(old)::"memory");
    asm volatile("msr fpcr, %0" ::"r"(old | std::uint64_t{7} << 22) : "memory");
#endif
    return old;
}

void restore_environment(std::uint64_t old) {
#if defined(__x86_64__)
    _mm_setcsr(static_cast<unsigned>(old));
#elif defined(__aarch64__)
    asm volatile("msr fpcr, %0" ::"r"(old) : "memory");
#else
    (void)old;
#endif
}

std::vector<std::string> tiers() {
    std::vector<std::string> names;
    std::set<std::string_view> seen;
    for (const Tier& tier : available_tiers())
        if (seen.insert(tier.fp32_name).second) names.emplace_back(tier.name);
    return names;
}

}  // namespace

void bind_fp32(nb::module_& module) {
    nb::module_ m = module.def_submodule("fp32", "Kernels of the fp32 profile, by tier.");
    m.def("tiers", &tiers,
          "Names of tiers of this machine, best first; of those that share their fp32 kernels, the best.");
    m.def("linear", &linear, nb::arg("tier"), nb::arg("kind"), nb::arg("data"), nb::arg("rows"), nb::arg("x"),
          nb::arg("bias").none() = nb::none(), nb::arg("cuts").none() = nb::none());
    m.def("rmsnorm", &rmsnorm, nb::arg("tier"), nb::arg("x"), nb::arg("gain"), nb::arg("epsilon"));
    m.def("rope", &rope, nb::arg("tier"), nb::arg("x"), nb::arg("cosine"), nb::arg("sine"), nb::arg("interleaved"));
    m.def("attend", &attend, nb::arg("tier"), nb::arg("q"), nb::arg("keys"), nb::arg("values"), nb::arg("pages"),
          nb::arg("head"), nb::arg("first"), nb::arg("last"), nb::arg("scale"), nb::arg("cap") = 0.0f,
          nb::arg("sinks").none() = nb::none());
    m.def("gate", &gate, nb::arg("tier"), nb::arg("kind"), nb::arg("g"), nb::arg("u"));
    m.def("layer_norm", &layer_norm, nb::arg("tier"), nb::arg("x"), nb::arg("gain"), nb::arg("bias").none(),
          nb::arg("epsilon"));
    m.def("sigmoid", &sigmoid, nb::arg("tier"), nb::arg("x"));
    m.def("soft_cap", &soft_cap, nb::arg("tier"), nb::arg("x"), nb::arg("cap"));
    m.def("softmax", &softmax, nb::arg("tier"), nb::arg("x"));
    m.def("divide_by_sum", &divide_by_sum, nb::arg("tier"), nb::arg("x"), nb::arg("least"));
    m.def("add_scaled", &add_scaled, nb::arg("tier"), nb::arg("x"), nb::arg("factor"), nb::arg("y"));
    m.def("add", &add, nb::arg("tier"), nb::arg("a"), nb::arg("b"));
    m.def("multiply", &multiply, nb::arg("tier"), nb::arg("a"), nb::arg("b"));
    m.def("hadamard", &hadamard, nb::arg("tier"), nb::arg("x"), nb::arg("size"));
    m.def("embed", &embed, nb::arg("tier"), nb::arg("kind"), nb::arg("data"), nb::arg("rows"), nb::arg("columns"),
          nb::arg("ids"), nb::arg("scale") = 1.0f);
    m.def("exp", &exponential, nb::arg("tier"), nb::arg("x"));
    m.def("from_q30", &from_q30, nb::arg("tier"), nb::arg("x"));
    m.def("dequantize", &dequantize, nb::arg("tier"), nb::arg("kind"), nb::arg("data"), nb::arg("rows"),
          nb::arg("columns"), nb::arg("row0"), nb::arg("row1"));
    m.def("spoil_environment", &spoil_environment);
    m.def("restore_environment", &restore_environment, nb::arg("old"));
}

}  // namespace intact
