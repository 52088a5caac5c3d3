#include "bindings/bind_model.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <stdexcept>

#include "bindings/bind_arrays.h"
#include "bindings/bind_scheme.h"
#include "formats/convert.h"
#include "runtime/check.h"
#include "runtime/model.h"
#include "runtime/plan.h"
#include "runtime/view.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

using Bytes = Vector<std::uint8_t>;

template <class T> std::vector<T> copy(const Vector<T>& x) { return {x.data(), x.data() + x.shape(0)}; }

[[noreturn]] void not_finite(std::int64_t row, std::int64_t column) {
    throw std::domain_error("row " + std::to_string(row) + ", column " + std::to_string(column) +
                            " is NaN or infinite");
}

// Decodes every row once. The fp32 profile reads weights from the mapped file, where a non-finite value would otherwise
// only show in the results.
void check_finite(Model& model, const FloatWeight& w) {
    nb::gil_scoped_release release;
    std::vector<std::int64_t> bad(static_cast<std::size_t>(w.rows), -1);
    model.pool.for_each((w.rows + 63) / 64, [&](std::int64_t task) {
        std::vector<float> row(static_cast<std::size_t>(w.columns));
        for (std::int64_t n = task * 64; n < std::min(w.rows, task * 64 + 64); n++) {
            model.float_kernel->dequantize(w.kind, w.data, w.columns, n, n + 1, row.data());
            const auto at = std::find_if(row.begin(), row.end(), [](float x) {
                return (std::bit_cast<std::uint32_t>(x) & 0x7F800000) == 0x7F800000;
            });
            if (at != row.end()) bad[static_cast<std::size_t>(n)] = at - row.begin();
        }
    });
    const auto first = std::find_if(bad.begin(), bad.end(), [](std::int64_t column) { return column >= 0; });
    if (first != bad.end()) not_finite(first - bad.begin(), *first);
}

int add_packed(Model& model, Weight& packed) {
    const Busy busy(model);
    if (packed.codes == nullptr) throw std::invalid_argument("the weight belongs to a model already");
    auto weight = std::make_unique<MatrixWeight>();
    weight->packed = std::move(packed);
    packed.codes = nullptr;
    weight->matrix = view(weight->packed);
    model.weights.push_back(std::move(weight));
    return static_cast<int>(model.weights.size()) - 1;
}

int add_weight(Model& model, const std::string& kind, const Bytes& data, std::int64_t rows, std::int64_t columns,
               int bits) {
    const Busy busy(model);
    const WeightFormat* format = find_format(kind);
    if (!format) throw std::invalid_argument("unknown tensor kind " + kind);
    if (rows < 1 || columns < 1) throw std::invalid_argument("a matrix has at least one row and one column");
    if (static_cast<std::int64_t>(data.shape(0)) != source_bytes(*format, rows, columns))
        throw std::invalid_argument("tensor data has the wrong length");
    auto weight = std::make_unique<MatrixWeight>();
    if (model.profile == Profile::kFp32) {
        weight->floats = {format->kind, rows, columns, data.data(), nullptr};
        check_finite(model, weight->floats);
    } else {
        nb::gil_scoped_release release;
        Converted result = convert(*format, data.data(), rows, columns, bits,
                                   [&](std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
                                       model.pool.for_each(tasks, task);
                                   });
        if (result.error) not_finite(result.error->row, result.error->column);
        weight->packed = std::move(result.weight);
        weight->matrix = view(weight->packed);
    }
    model.weights.push_back(std::move(weight));
    return static_cast<int>(model.weights.size()) - 1;
}

void set_pager(Model& model, const Bytes& map, std::int64_t cap) {
    const Busy busy(model);
    if (model.profile == Profile::kFp32) throw std::invalid_argument("the fp32 profile has no weights of its own");
    for (const auto& weight : model.weights) {
        const Weight& packed = weight->packed;
        const std::uint8_t *const begin = packed.storage.data(), *const end = map.data() + map.size();
        if (packed.storage.is_borrowed() &&
            (begin < map.data() || begin + packed.storage.size() + packed.numbers.size() > end))
            throw std::invalid_argument("a weight lies outside the map");
    }
    model.pager = std::make_unique<Pager>(model, map.data(), map.size(), cap);
}

std::vector<std::uint8_t*> addresses(const Model& model, const Vector<std::int32_t>& table) {
    std::vector<std::uint8_t*> pages;
    for (std::size_t i = 0; i < table.shape(0); i++) {
        const std::int32_t page = table.data()[i];
        if (page < 0 || static_cast<std::size_t>(page) >= model.pages.size())
            throw std::invalid_argument("no such page");
        pages.push_back(model.pages[static_cast<std::size_t>(page)].data());
    }
    return pages;
}

void check_tree(const Model& model, const Chunk& chunk) {
    if (model.profile == Profile::kFp32) throw std::invalid_argument("the fp32 profile takes no trees of drafts");
    if (chunk.count > kTreeRows) throw std::invalid_argument("a tree of drafts has at most 64 rows");
    if (static_cast<std::int64_t>(chunk.parents.size()) != chunk.count)
        throw std::invalid_argument("every row of a tree needs a parent");
    for (std::size_t i = 0; i < chunk.parents.size(); i++)
        if (chunk.parents[i] < -1 || chunk.parents[i] >= static_cast<std::int32_t>(i))
            throw std::invalid_argument("a parent in a tree of drafts must be -1 or a row before its child");
}

void check_positions(const Model& model, const std::vector<Chunk>& chunks) {
    const std::int64_t most = model.most_positions;
    for (const Chunk& chunk : chunks) {
        if (model.whole && (chunk.position != 0 || !chunk.parents.empty()))
            throw std::invalid_argument("an encoder reads each text whole, in one chunk that begins at position 0");
        if (chunk.position + chunk.count > most)
            throw std::invalid_argument("the model has positions for " + std::to_string(most) + " tokens, not for " +
                                        std::to_string(chunk.position + chunk.count));
    }
}

// chunks: pairs of first position and row count; tables: each chunk's pages in order of position; trees: chunk indices
// with the parents of their rows; adapters: each chunk's adapter index, or -1. The result is valid until the next step.
nb::ndarray<nb::numpy, std::int32_t> step(Model& model, const Vector<std::int32_t>& tokens,
                                          const std::vector<std::tuple<std::int64_t, std::int64_t>>& chunks,
                                          const std::vector<Vector<std::int32_t>>& tables,
                                          const Vector<std::int64_t>& wanted,
                                          const std::vector<std::tuple<std::size_t, Vector<std::int32_t>>>& trees,
                                          const std::vector<int>& adapters) {
    const Busy busy(model);
    const auto rows = static_cast<std::int64_t>(tokens.shape(0));
    if (chunks.size() != tables.size()) throw std::invalid_argument("a chunk needs a page table");
    std::vector<Chunk> list;
    std::int64_t total = 0;
    for (std::size_t c = 0; c < chunks.size(); c++) {
        const auto [position, count] = chunks[c];
        const std::int64_t room = static_cast<std::int64_t>(tables[c].shape(0)) * model.page_size;
        if (position < 0 || count < 1 || count > room || position > room - count)
            throw std::invalid_argument("a chunk's positions lie outside its pages");
        list.push_back({position, count, addresses(model, tables[c])});
        total += count;
    }
    if (!adapters.empty() && adapters.size() != chunks.size())
        throw std::invalid_argument("every chunk has an adapter or none");
    for (std::size_t c = 0; c < adapters.size(); c++) {
        if (adapters[c] < -1 || adapters[c] >= model.adapters.value_or(0))
            throw std::invalid_argument("the model has no adapter " + std::to_string(adapters[c]));
        list[c].adapter = adapters[c];
    }
    for (const auto& [c, parents] : trees) {
        Chunk& chunk = list.at(c);
        chunk.parents = copy(parents);
        check_tree(model, chunk);
    }
    check_positions(model, list);
    if (total != rows || rows == 0) throw std::invalid_argument("the chunks do not cover the tokens");
    const bool embeds = model.vocabulary > 0;  // else another rank does
    for (std::int64_t i = 0; i < rows; i++)
        if (tokens.data()[i] < 0 || (embeds && tokens.data()[i] >= model.vocabulary))
            throw std::invalid_argument("token outside the vocabulary");
    for (std::size_t i = 0; i < wanted.shape(0); i++)
        if (wanted.data()[i] < 0 || wanted.data()[i] >= rows)
            throw std::invalid_argument("wanted row outside the step");
    const std::size_t shape[] = {wanted.shape(0), static_cast<std::size_t>(model.outputs)};
    if (const std::size_t bytes = shape[0] * shape[1] * 4; model.logits->size() < bytes)
        model.logits = std::make_shared<Buffer>(bytes);  // views of the old one keep it
    auto* logits = reinterpret_cast<std::int32_t*>(model.logits->data());
    {
        nb::gil_scoped_release release;
        model.step(tokens.data(), rows, list, wanted.data(), static_cast<std::int64_t>(wanted.shape(0)), logits);
    }
    nb::capsule owner(new std::shared_ptr<Buffer>(model.logits),
                      [](void* p) noexcept { delete static_cast<std::shared_ptr<Buffer>*>(p); });
    return {logits, 2, shape, owner};
}

// Returns a view of a buffer's first rows.
nb::object rows_of(Model& model, int buffer, std::int64_t rows) {
    const BufferSpec& spec = model.buffers[static_cast<std::size_t>(buffer)];
    std::uint8_t* const data = model.memory[static_cast<std::size_t>(buffer)].data();
    const std::size_t shape[] = {static_cast<std::size_t>(rows), static_cast<std::size_t>(spec.width)};
    if (model.profile == Profile::kFp32)
        return nb::cast(nb::ndarray<nb::numpy, float>(data, 2, shape), nb::rv_policy::reference);
    if (spec.wide) return nb::cast(nb::ndarray<nb::numpy, std::int64_t>(data, 2, shape), nb::rv_policy::reference);
    return nb::cast(nb::ndarray<nb::numpy, std::int32_t>(data, 2, shape), nb::rv_policy::reference);
}

// Makes exchanges call call(operation index, rows of its source or None, rows of its target). The callback must not
// keep a reference to either array.
void set_exchange(Model& model, nb::object call) {
    const Busy busy(model);
    model.exchange = [&model, call = std::move(call)](std::size_t i, std::int64_t rows) {
        const nb::gil_scoped_acquire acquire;
        const Op& op = model.ops[i];
        call(i, op.source < 0 ? nb::none() : rows_of(model, op.source, rows), rows_of(model, op.target, rows));
    };
}

// Returns the head's inputs for some of the rows whose logits the last step returned, (rows, bytes per row).
nb::ndarray<nb::numpy, std::uint8_t> head_inputs(Model& model, const Vector<std::int64_t>& rows) {
    const Busy busy(model);
    for (std::size_t i = 0; i < rows.shape(0); i++)
        if (rows.data()[i] < 0 || rows.data()[i] >= model.head.rows)
            throw std::invalid_argument("row outside the last step's logits");
    const std::int64_t bytes = model.head_bytes();
    auto out = make_array<std::uint8_t>({rows.shape(0), static_cast<std::size_t>(bytes)});
    for (std::size_t i = 0; i < rows.shape(0); i++)
        model.copy_head(rows.data()[i], out.data() + static_cast<std::int64_t>(i) * bytes);
    return out;
}

// Returns a page's bytes over all layers, as the model stores them: the same on every tier.
nb::ndarray<nb::numpy, std::uint8_t> read_page(Model& model, std::size_t page) {
    const Busy busy(model);
    if (page >= model.pages.size()) throw std::invalid_argument("there is no such page");
    auto out = make_array<std::uint8_t>({static_cast<std::size_t>(model.page_bytes())});
    std::copy_n(model.pages[page].data(), model.page_bytes(), out.data());
    return out;
}

void write_page(Model& model, std::size_t page, const Bytes& data) {
    const Busy busy(model);
    if (page >= model.pages.size()) throw std::invalid_argument("there is no such page");
    if (static_cast<std::int64_t>(data.shape(0)) != model.page_bytes())
        throw std::invalid_argument("a page has " + std::to_string(model.page_bytes()) + " bytes, got " +
                                    std::to_string(data.shape(0)));
    std::copy_n(data.data(), model.page_bytes(), model.pages[page].data());
}

nb::ndarray<nb::numpy, std::uint8_t> recorded(Model& model, std::size_t op) {
    const Busy busy(model);
    if (op >= model.recorded.size()) throw std::invalid_argument("nothing was recorded of this operation");
    const std::vector<std::uint8_t>& bytes = model.recorded[op];
    auto out = make_array<std::uint8_t>({bytes.size()});
    std::copy_n(bytes.data(), bytes.size(), out.data());
    return out;
}

void move(Model& model, const Vector<std::int32_t>& table, const Vector<std::int64_t>& sources,
          const Vector<std::int64_t>& targets) {
    const Busy busy(model);
    const std::vector<std::uint8_t*> pages = addresses(model, table);
    const std::int64_t room = static_cast<std::int64_t>(pages.size()) * model.page_size;
    if (sources.shape(0) != targets.shape(0)) throw std::invalid_argument("every source needs a target");
    std::int64_t source = -1, target = -1;
    for (std::size_t i = 0; i < sources.shape(0); i++) {
        if (sources.data()[i] <= source || targets.data()[i] <= target)
            throw std::invalid_argument("sources and targets must ascend");
        source = sources.data()[i];
        target = targets.data()[i];
        if (source >= room || target > source)
            throw std::invalid_argument("a slot moves towards the front, within its pages");
    }
    for (std::size_t i = 0; i < sources.shape(0); i++)
        if (sources.data()[i] != targets.data()[i]) model.move(pages, sources.data()[i], targets.data()[i]);
}

}  // namespace

void bind_model(nb::module_& m) {
    nb::class_<Counters>(m, "Counters")
        .def_ro("steps", &Counters::steps)
        .def_ro("rows", &Counters::rows)
        .def_ro("largest_step", &Counters::largest_step)
        .def_ro("chunks", &Counters::chunks)
        .def_ro("tree_rows", &Counters::tree_rows)
        .def_ro("ended_rows", &Counters::ended_rows)
        .def_ro("shared_positions", &Counters::shared_positions);

    nb::class_<LinearTarget>(m, "Target")
        .def(nb::init<int, int, int, bool>(), "buffer"_a, "weight"_a, "bias"_a, "accumulate"_a);

    // An operation, set field by field; model.h documents which fields each operation reads.
    nb::class_<Op> op(m, "Op");
    op.def(
          "__init__",
          [](Op* self, const std::string& kind) {
              const Operation& found = Operation::find(kind);
              (new (self) Op{})->kind = &found;
          },
          "kind"_a, "Make an operation of a kind by its name, the file in native/ops.")
        .def_prop_ro("kind", [](const Op& self) { return std::string(self.kind->name); })
        .def_rw("source", &Op::source)
        .def_rw("second", &Op::second)
        .def_rw("third", &Op::third)
        .def_rw("fourth", &Op::fourth)
        .def_rw("target", &Op::target)
        .def_rw("weight", &Op::weight)
        .def_rw("heads", &Op::heads)
        .def_rw("groups", &Op::groups)
        .def_rw("kv_heads", &Op::kv_heads)
        .def_rw("layer", &Op::layer)
        .def_rw("width", &Op::width)
        .def_rw("window", &Op::window)
        .def_rw("causal", &Op::causal)
        .def_rw("accumulate", &Op::accumulate)
        .def_rw("centered", &Op::centered)
        .def_rw("float_cap", &Op::float_cap)
        .def_prop_rw(
            "cap", [](const Op& self) { return std::tuple(self.cap.slope, self.cap.limit); },
            [](Op& self, const std::tuple<std::int64_t, std::int64_t>& cap) {
                self.cap = self.scale.cap = {std::get<0>(cap), std::get<1>(cap)};
            })
        .def_rw("bias", &Op::bias)
        .def_rw("added", &Op::added)
        .def_rw("interleaved", &Op::interleaved)
        .def_prop_rw(
            "gate", [](const Op& self) { return static_cast<int>(self.gate); },
            [](Op& self, int gate) {
                if (gate < 0 || gate >= kGateKinds) throw std::invalid_argument("no such gate");
                self.gate = static_cast<GateKind>(gate);
            })
        .def_rw("multiplier", &Op::multiplier)
        .def_rw("float_scale", &Op::float_scale)
        .def_rw("targets", &Op::targets)
        .def_rw("index", &Op::index)
        .def_rw("keep", &Op::keep)
        .def_rw("norms", &Op::norms)
        .def_rw("random", &Op::random)
        .def_rw("outliers", &Op::outliers)
        .def_rw("positions", &Op::positions)
        .def_rw("first", &Op::first)
        .def_rw("separator", &Op::separator)
        .def_rw("second_bias", &Op::second_bias)
        .def_prop_rw(
            "routing",
            [](const Op& self) {
                const Routing& r = self.routing;
                return std::tuple(r.used, static_cast<int>(r.weights), r.factor, r.float_factor, r.groups,
                                  r.groups_used);
            },
            [](Op& self,
               const std::tuple<std::int64_t, int, std::int64_t, float, std::int64_t, std::int64_t>& routing) {
                const auto& [used, weights, factor, float_factor, groups, groups_used] = routing;
                if (weights < 0 || weights >= kExpertWeights) throw std::invalid_argument("no such weights of experts");
                self.routing = {used, static_cast<ExpertWeights>(weights), factor, float_factor, groups, groups_used};
            })
        .def_prop_rw(
            "scan",
            [](const Op& self) {
                const ScanForm& f = self.scan;
                return std::tuple(f.heads, f.width, f.groups, f.states, f.taps, f.bias, f.step_bias, f.rate, f.skip,
                                  f.delta, f.tiled, f.selective, f.angles, f.b_bias, f.c_bias, f.slowest);
            },
            [](Op& self,
               const std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, int, int, int,
                                int, bool, bool, bool, std::int64_t, int, int, std::int64_t>& scan) {
                const auto& [heads, width, groups, states, taps, bias, step_bias, rate, skip, delta, tiled, selective,
                             angles, b_bias, c_bias, slowest] = scan;
                self.scan = {heads, width, groups, states,    taps,   bias,   step_bias, rate,
                             skip,  delta, tiled,  selective, angles, b_bias, c_bias,    slowest};
            })
        .def_prop_rw(
            "scale", [](const Op& self) { return std::tuple(self.scale.mantissa, self.scale.exponent); },
            [](Op& self, const std::tuple<std::int64_t, int>& scale) {
                self.scale.mantissa = std::get<0>(scale);
                self.scale.exponent = std::get<1>(scale);
            });

    nb::class_<Model>(m, "Model")
        .def(
            "__init__",
            [](Model* self, const std::string& profile, const std::string& tier, int threads, int layers, int kv_heads,
               std::int64_t head_width, std::int64_t page_size, bool pinned) {
                new (self) Model(profile == "fp32" ? Profile::kFp32 : Profile::kInt8, tier, threads, layers, kv_heads,
                                 head_width, page_size, pinned);
            },
            "profile"_a, "tier"_a, "threads"_a, "layers"_a, "kv_heads"_a, "head_width"_a, "page_size"_a,
            "pinned"_a = false)
        .def_prop_ro("tier", [](const Model& self) { return self.kernel->name; })
        .def_prop_ro("threads", [](const Model& self) { return self.pool.size(); })
        .def_prop_ro("page_bytes", &Model::page_bytes)
        .def_prop_ro("weight_bytes", &Model::weight_bytes)
        .def_ro("counters", &Model::counters)
        .def_prop_ro(
            "saturated", [](const Model& self) { return self.saturated.load(); },
            "Numbers of recurrent states that came to the limit, where they saturate.")
        .def(
            "set_scheme",
            [](Model& self, std::int32_t largest, int step_bits, int mantissa, bool power, bool whole_row) {
                const Busy busy(self);
                self.scheme = checked({largest, step_bits, mantissa, power, whole_row});
            },
            "largest"_a, "step_bits"_a, "mantissa"_a, "power"_a, "whole_row"_a)
        .def(
            "set_kv_bits",
            [](Model& self, int key, int value) {
                const Busy busy(self);
                self.set_kv({key, value});
            },
            "key"_a, "value"_a, "Keep keys and values in so many bits, 8 or 4, before there are pages.")
        .def("set_exchange", &set_exchange, "call"_a,
             "Let exchanges call `call(operation, own rows or None, all rows)`, which keeps neither array.")
        .def_prop_rw(
            "recording", [](const Model& self) { return self.recording; },
            [](Model& self, bool on) {
                const Busy busy(self);
                self.recording = on && self.profile == Profile::kInt8;
                self.recorded.assign(self.recording ? self.ops.size() : 0, {});
            },
            "Whether steps keep the inputs of their products (profile int8).")
        .def("recorded", &recorded, "op"_a, "Return what entered product `op` in the last step, row after row.")
        .def_prop_rw(
            "profiling", [](const Model& self) { return self.profiling; },
            [](Model& self, bool on) {
                const Busy busy(self);
                self.profiling = on;
                self.stopwatch.reset(self.ops.size());
            })
        .def(
            "fused_norms",
            [](const Model& self) {
                std::vector<int> norms;
                if (self.profile == Profile::kInt8)
                    for (const Plan& plan : make_plan(self)) norms.push_back(plan.norm);
                return norms;
            },
            "For each operation the norm that is part of it, or -1.")
        .def("times",
             [](const Model& self) {
                 const auto& times = self.stopwatch.times;
                 auto out = make_array<std::int64_t>({times.size(), Stopwatch::kParts});
                 for (std::size_t i = 0; i < times.size(); i++)
                     std::copy_n(times[i].data(), Stopwatch::kParts, out.data() + i * Stopwatch::kParts);
                 return out;
             })
        .def(
            "packed_bytes",
            [](const Model& self, int weight) {
                return self.weights.at(static_cast<std::size_t>(weight))->packed.nbytes();
            },
            "weight"_a)
        .def("add_buffer", &Model::add_buffer, "width"_a, "wide"_a)
        .def("add_weight", &add_weight, "kind"_a, "data"_a, "rows"_a, "columns"_a, "bits"_a,
             "Add a matrix as the checkpoint stores it; in the profile fp32 the caller keeps `data`.")
        .def("add_packed", &add_packed, "weight"_a,
             "Add a weight made by `pack_integers`, which then belongs to the model.")
        .def(
            "set_pager", &set_pager, "map"_a, "cap"_a, nb::keep_alive<1, 2>(),
            "Keep the weights that `map_weight` made of parts of this map below a cap of bytes, from the next step on.")
        .def(
            "drop_caches",
            [](Model& self, int file) {
                const Busy busy(self);
                if (!self.pager) throw std::invalid_argument("the model has no pager");
                self.pager->file = file;
            },
            "file"_a, "Have dropped pages of this file leave the system's cache too; -1: no longer.")
        .def(
            "paged",
            [](const Model& self) {
                const Pager::Counts counts = self.pager ? self.pager->counts : Pager::Counts{};
                return std::tuple(counts.requested, counts.dropped, counts.here, counts.most);
            },
            "Return the pager's bytes: requested and dropped so far, counted now, the most ever.")
        .def(
            "largest_exponent",
            [](const Model& self, int weight) {
                const Matrix& w = self.weights.at(static_cast<std::size_t>(weight))->matrix;
                return w.has_min ? std::max(w.scale_exp_high, w.minimum_exp_high) : w.scale_exp_high;
            },
            "weight"_a)
        .def(
            "add_gain",
            [](Model& self, const Vector<std::int32_t>& factor, int exponent, std::int64_t epsilon,
               const Vector<float>& values, float float_epsilon) {
                self.gains.push_back({copy(factor), exponent, epsilon, copy(values), float_epsilon});
                return self.gains.size() - 1;
            },
            "factor"_a, "exponent"_a, "epsilon"_a, "values"_a, "float_epsilon"_a)
        .def(
            "add_bias",
            [](Model& self, const Vector<std::int64_t>& bias, const Vector<float>& values) {
                self.biases.push_back(copy(bias));
                self.float_biases.push_back(copy(values));
                return self.biases.size() - 1;
            },
            "bias"_a, "values"_a)
        .def(
            "add_rotation",
            [](Model& self, const Vector<std::uint64_t>& turns, std::int64_t factor) {
                if (factor < 1 || factor >= std::int64_t{7} << 28)
                    throw std::invalid_argument("a rotation's factor in Q30 must lie in 1 to 7 * 2^28 - 1, got " +
                                                std::to_string(factor));
                self.rotations.push_back({copy(turns), factor});
                return self.rotations.size() - 1;
            },
            "turns"_a, "factor"_a = std::int64_t{1} << 30)
        .def("add_op", &add_op, "op"_a)
        .def(
            "reserve_pages",
            [](Model& self, std::int64_t count) {
                const Busy busy(self);
                nb::gil_scoped_release release;
                self.reserve_pages(count);
            },
            "count"_a)
        .def(
            "copy_page",
            [](Model& self, std::int64_t from, std::int64_t to) {
                const Busy busy(self);
                self.copy_page(from, to);
            },
            "source"_a, "target"_a)
        .def("read_page", &read_page, "page"_a, "Return the bytes of a page, of all layers; the same on every tier.")
        .def("write_page", &write_page, "page"_a, "data"_a, "Set the bytes of a page to what `read_page` returned.")
        .def("move", &move, "pages"_a, "sources"_a, "targets"_a)
        .def("step", &step, "tokens"_a, "chunks"_a, "tables"_a, "wanted"_a, "trees"_a,
             "adapters"_a = std::vector<int>())
        .def("head_inputs", &head_inputs, "rows"_a);
}

}  // namespace intact
