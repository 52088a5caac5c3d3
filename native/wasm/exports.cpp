// Functions for JavaScript: the model and its steps, draws, and every kernel separately for the conformance set. They
// are plain functions over memory that JavaScript fills; js/src/core.js is the other side. Invalid arguments from
// JavaScript are bugs there, so only what a file or a request can decide is validated here.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bind_scheme.h"
#include "formats/convert.h"
#include "runtime/check.h"
#include "runtime/sample.h"
#include "runtime/step.h"
#include "runtime/view.h"
#include "tiers/tiers.h"

#define INTACT_EXPORT(name) extern "C" __attribute__((export_name(#name)))

namespace intact {
namespace {

void demand(bool holds, const std::string& what) {
    if (!holds) throw std::invalid_argument(what);
}

void in_order(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
    for (std::int64_t i = 0; i < tasks; i++) task(i);
}

Weight convert_finite(Model* model, const char* kind, const std::uint8_t* data, std::int64_t rows, std::int64_t columns,
                      int bits) {
    const WeightFormat* format = find_format(kind);
    demand(format != nullptr, "unknown tensor kind " + std::string(kind));
    demand(rows >= 1 && columns >= 1 && columns % format->values == 0, "a row is no whole number of blocks");
    const auto on_all_threads = [&](std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
        model == nullptr ? in_order(tasks, task) : model->pool.for_each(tasks, task);
    };
    Converted result = convert(*format, data, rows, columns, bits, on_all_threads);
    if (result.error)
        throw std::domain_error("row " + std::to_string(result.error->row) + ", column " +
                                std::to_string(result.error->column) + " is NaN or infinite");
    return std::move(result.weight);
}

// An operation as js/src/core.js writes it: fields of model.h.
struct GivenOp {
    std::int64_t source, second, third, target, weight, heads, kv_heads, layer, width, window, accumulate, centered,
        bias, interleaved, gate, mantissa, exponent, cap_slope, cap_limit, multiplier, used, weights, factor, keep,
        random, groups, groups_used, states, taps, scan_bias, step_bias, rate, skip, delta, tiled, causal, positions,
        first, separator, second_bias, fourth, added, selective, angles, b_bias, c_bias, slowest, outliers;
};
struct GivenTarget {
    std::int32_t buffer, weight, bias, accumulate;
};

struct GivenDraw {
    std::int64_t slope, top_k, top_p, min_p, typical;
    std::uint64_t key;
    std::int64_t position, repetition, presence, frequency;
    const std::int32_t *biased, *bias;
    std::uint32_t biased_count;
    const std::int32_t* repeated;
    std::uint32_t repeated_count;
    const std::int32_t *drawn, *counts;
    std::uint32_t drawn_count;
    const std::int32_t* forbidden;
    std::uint32_t forbidden_count;
    const std::uint32_t* mask;
};

// Input rows of a kernel's product, with their memory.
struct Quantized {
    Buffer memory;
    Activations rows{};
};

// Keys and values of one head on a page of the given number of positions.
struct OneHead {
    Buffer page;
    std::uint8_t* address = nullptr;
    HeadCache cache{};
};

// A model whose exchanges JavaScript serves: in a step, the i-th exchange copies the rows of its target, int64, to
// `out`, and then sets them to the rows at `in`; null pointers skip the respective copy.
struct JsModel : Model {
    using Model::Model;
    struct Rows {
        std::int64_t* out = nullptr;
        const std::int64_t* in = nullptr;
    };
    std::vector<Rows> exchanged{};

    void serve(std::size_t op, std::int64_t rows) {
        const auto number =
            static_cast<std::size_t>(std::lower_bound(exchanges.begin(), exchanges.end(), op) - exchanges.begin());
        if (number >= exchanged.size()) return;
        const auto [out, in] = exchanged[number];
        auto* const whole = reinterpret_cast<std::int64_t*>(at(memory, ops[op].target).data());
        const std::int64_t count = rows * at(buffers, ops[op].target).width;
        if (out != nullptr) std::copy_n(whole, count, out);
        if (in != nullptr) std::copy_n(in, count, whole);
    }
};

int index_of(std::size_t size) { return static_cast<int>(size) - 1; }

}  // namespace

INTACT_EXPORT(intact_allocate) void* intact_allocate(std::uint32_t bytes) {
    return ::operator new(std::max<std::uint32_t>(bytes, 1), std::align_val_t{64});
}
INTACT_EXPORT(intact_release) void intact_release(void* memory) { ::operator delete(memory, std::align_val_t{64}); }

// Names of the tiers, best first, each terminated by a zero byte, with another zero byte at the end.
INTACT_EXPORT(intact_tiers) const char* intact_tiers() {
    static const std::string names = [] {
        std::string all;
        for (const Tier& tier : available_tiers()) all.append(tier.name).push_back('\0');
        return all;
    }();
    return names.c_str();
}

// ------------------------------------------------------------------ models

INTACT_EXPORT(intact_model)
JsModel* intact_model(const char* tier, int threads, int layers, int kv_heads, int head_width, int page_size) {
    auto* const model = new JsModel(Profile::kInt8, tier, threads, layers, kv_heads, head_width, page_size);
    model->exchange = [model](std::size_t op, std::int64_t rows) { model->serve(op, rows); };
    return model;
}
INTACT_EXPORT(intact_model_release) void intact_model_release(JsModel* model) { delete model; }
// Provides the buffers of an exchange, by its index, for the following steps; rows are int64, as in wide buffers.
INTACT_EXPORT(intact_exchange)
void intact_exchange(JsModel* model, int number, std::int64_t* out, const std::int64_t* in) {
    model->exchanged.resize(std::max(model->exchanged.size(), static_cast<std::size_t>(number) + 1));
    model->exchanged[static_cast<std::size_t>(number)] = {out, in};
}

INTACT_EXPORT(intact_scheme)
void intact_scheme(Model* model, int largest, int step_bits, int mantissa, int power, int whole_row) {
    model->scheme = checked({largest, step_bits, mantissa, power != 0, whole_row != 0});
}
INTACT_EXPORT(intact_kv_bits) void intact_kv_bits(Model* model, int key, int value) { model->set_kv({key, value}); }
INTACT_EXPORT(intact_buffer) int intact_buffer(Model* model, int width, int wide) {
    return model->add_buffer(width, wide != 0);
}
INTACT_EXPORT(intact_weight)
int intact_weight(Model* model, Weight* packed) {
    auto weight = std::make_unique<MatrixWeight>();
    weight->packed = std::move(*packed);
    delete packed;
    weight->matrix = view(weight->packed);
    model->weights.push_back(std::move(weight));
    return index_of(model->weights.size());
}
INTACT_EXPORT(intact_largest_exponent) int intact_largest_exponent(const Model* model, int weight) {
    const Matrix& w = model->weights.at(static_cast<std::size_t>(weight))->matrix;
    return w.has_min ? std::max(w.scale_exp_high, w.minimum_exp_high) : w.scale_exp_high;
}
INTACT_EXPORT(intact_gain)
int intact_gain(Model* model, const std::int32_t* factor, int count, int exponent, std::int64_t epsilon) {
    model->gains.push_back({{factor, factor + count}, exponent, epsilon, {}, 0});
    return index_of(model->gains.size());
}
INTACT_EXPORT(intact_bias) int intact_bias(Model* model, const std::int64_t* bias, int count) {
    model->biases.emplace_back(bias, bias + count);
    return index_of(model->biases.size());
}
INTACT_EXPORT(intact_rotation)
int intact_rotation(Model* model, const std::uint64_t* turns, int count, std::int64_t factor) {
    demand(factor >= 1 && factor < std::int64_t{7} << 28, "a rotation's factor in Q30 must lie in 1 to 7 * 2^28 - 1");
    model->rotations.push_back({{turns, turns + count}, factor});
    return index_of(model->rotations.size());
}
INTACT_EXPORT(intact_op)
void intact_op(Model* model, const char* kind, const GivenOp* given, const GivenTarget* targets, int target_count,
               const std::int32_t* index, int index_count, const std::int32_t* norms, int norm_count) {
    const GivenOp& g = *given;
    demand(g.gate >= 0 && g.gate < kGateKinds && g.weights >= 0 && g.weights < kExpertWeights,
           "no such gate or weights of experts");
    Op op{};
    op.kind = &Operation::find(kind);
    op.outliers = g.outliers;
    op.source = static_cast<int>(g.source);
    op.second = static_cast<int>(g.second);
    op.third = static_cast<int>(g.third);
    op.fourth = static_cast<int>(g.fourth);
    op.target = static_cast<int>(g.target);
    op.weight = static_cast<int>(g.weight);
    op.heads = static_cast<int>(g.heads);
    op.groups = static_cast<int>(g.groups);
    op.kv_heads = static_cast<int>(g.kv_heads);
    op.layer = static_cast<int>(g.layer);
    op.width = g.width;
    op.window = g.window;
    op.accumulate = g.accumulate != 0;
    op.centered = g.centered != 0;
    op.bias = static_cast<int>(g.bias);
    op.added = static_cast<int>(g.added);
    op.interleaved = g.interleaved != 0;
    op.gate = static_cast<GateKind>(g.gate);
    op.cap = {g.cap_slope, g.cap_limit};
    op.scale = {g.mantissa, static_cast<int>(g.exponent), op.cap};
    op.multiplier = g.multiplier;
    op.routing.used = g.used;
    op.routing.weights = static_cast<ExpertWeights>(g.weights);
    op.routing.factor = g.factor;
    op.routing.groups = g.groups;
    op.routing.groups_used = g.groups_used;
    op.scan = {g.heads,
               g.width,
               g.groups,
               g.states,
               g.taps,
               static_cast<int>(g.scan_bias),
               static_cast<int>(g.step_bias),
               static_cast<int>(g.rate),
               static_cast<int>(g.skip),
               g.delta != 0,
               g.tiled != 0,
               g.selective != 0,
               g.angles,
               static_cast<int>(g.b_bias),
               static_cast<int>(g.c_bias),
               g.slowest};
    op.causal = g.causal != 0;
    op.positions = static_cast<int>(g.positions);
    op.first = g.first;
    op.separator = static_cast<std::int32_t>(g.separator);
    op.second_bias = static_cast<int>(g.second_bias);
    op.keep = g.keep;
    op.random = g.random != 0;
    op.index.assign(index, index + index_count);
    op.norms.assign(norms, norms + norm_count);
    for (const GivenTarget& t : std::span(targets, static_cast<std::size_t>(target_count)))
        op.targets.push_back({t.buffer, t.weight, t.bias, t.accumulate != 0});
    add_op(*model, op);
}
INTACT_EXPORT(intact_pages) void intact_pages(Model* model, int count) { model->reserve_pages(count); }
INTACT_EXPORT(intact_page_bytes) double intact_page_bytes(const Model* model) {
    return static_cast<double>(model->page_bytes());
}
INTACT_EXPORT(intact_weight_bytes) double intact_weight_bytes(const Model* model) {
    return static_cast<double>(model->weight_bytes());
}
INTACT_EXPORT(intact_outputs) int intact_outputs(const Model* model) { return static_cast<int>(model->outputs); }
INTACT_EXPORT(intact_head_bytes) int intact_head_bytes(const Model* model) {
    return static_cast<int>(model->head_bytes());
}

// chunks: first position, row count and page count of each chunk; tables: the pages of all chunks, concatenated.
// Returns the logits of the wanted rows, valid until the next step.
INTACT_EXPORT(intact_step)
const std::int32_t* intact_step(Model* model, const std::int32_t* tokens, int rows, const std::int32_t* chunks,
                                int chunk_count, const std::int32_t* tables, const std::int64_t* wanted,
                                int wanted_count) {
    std::vector<Chunk> list;
    std::int64_t total = 0;
    for (int c = 0; c < chunk_count; c++, chunks += 4) {
        Chunk chunk{chunks[0], chunks[1], {}};
        chunk.adapter = chunks[3];
        const std::int64_t room = chunks[2] * model->page_size;
        demand(chunk.position >= 0 && chunk.count >= 1 && chunk.count <= room && chunk.position <= room - chunk.count,
               "a chunk's positions lie outside its pages");
        for (int i = 0; i < chunks[2]; i++) {
            const std::int32_t page = *tables++;
            demand(page >= 0 && static_cast<std::size_t>(page) < model->pages.size(), "no such page");
            chunk.pages.push_back(model->pages[static_cast<std::size_t>(page)].data());
        }
        demand(!model->whole || chunk.position == 0, "an encoder reads each text whole, from position 0");
        demand(chunk.position + chunk.count <= model->most_positions, "the model has no positions for so many tokens");
        total += chunk.count;
        list.push_back(std::move(chunk));
    }
    demand(total == rows && rows > 0, "the chunks do not cover the tokens");
    for (int i = 0; i < rows; i++)
        demand(tokens[i] >= 0 && tokens[i] < model->vocabulary, "token outside the vocabulary");
    for (int i = 0; i < wanted_count; i++) demand(wanted[i] >= 0 && wanted[i] < rows, "wanted row outside the step");
    const auto bytes = static_cast<std::int64_t>(wanted_count) * model->outputs * 4;
    ensure(*model->logits, bytes);
    auto* logits = reinterpret_cast<std::int32_t*>(model->logits->data());
    model->step(tokens, rows, list, wanted, wanted_count, logits);
    return logits;
}
INTACT_EXPORT(intact_head) void intact_head(const Model* model, int row, std::uint8_t* to) {
    demand(row >= 0 && row < model->head.rows, "row outside the last step's logits");
    model->copy_head(row, to);
}

// Draws a token from n logits; out: the token and its log-probability, or -1 and 0 if no token is allowed.
INTACT_EXPORT(intact_draw)
void intact_draw(const char* tier, const std::int32_t* logits, int n, const GivenDraw* given, std::int64_t* out) {
    const Kernels& kernel = find_tier(tier).kernels();
    const auto list = [](const std::int32_t* data, std::uint32_t count) { return Edits::List(data, count); };
    const GivenDraw& g = *given;
    const Edits edits{list(g.biased, g.biased_count),
                      list(g.bias, g.biased_count),
                      g.repetition,
                      list(g.repeated, g.repeated_count),
                      g.presence,
                      g.frequency,
                      list(g.drawn, g.drawn_count),
                      list(g.counts, g.drawn_count),
                      list(g.forbidden, g.forbidden_count)};
    const auto share = [](std::int64_t millionths) { return millionths >= 0 && millionths <= 1000000; };
    demand((g.slope == 0 || g.slope >= kLeastSlope) && g.top_k >= 0 && share(g.top_p) && share(g.min_p) &&
               share(g.typical) && g.repetition >= 1 && g.repetition <= 1000000000,
           "no such sampling");
    for (const auto& tokens : {edits.biased, edits.repeated, edits.drawn, edits.forbidden})
        for (const std::int32_t token : tokens)
            demand(token >= 0 && token < n, "an edit names a token outside the vocabulary");
    const Row row = read_row(kernel, logits, n);
    const Draw wanted{{g.slope, g.top_k, g.top_p, g.min_p, g.typical}, g.key, g.position, &edits, g.mask};
    out[0] = draw(kernel, row, wanted);
    out[1] = out[0] < 0 ? 0 : log_probability(row, out[0]);
}
INTACT_EXPORT(intact_top)
void intact_top(const char* tier, const std::int32_t* logits, int n, int k, std::int32_t* tokens,
                std::int64_t* logprobs) {
    demand(k >= 1 && k <= n, "k must be from 1 to the number of logits");
    const Kernels& kernel = find_tier(tier).kernels();
    const Row row = read_row(kernel, logits, n);
    top(kernel, row, k, tokens);
    for (int i = 0; i < k; i++) logprobs[i] = log_probability(row, tokens[i]);
}
INTACT_EXPORT(intact_log_probability)
double intact_log_probability(const char* tier, const std::int32_t* logits, int n, int token) {
    demand(token >= 0 && token < n, "a row of logits must hold the token");
    return static_cast<double>(log_probability(read_row(find_tier(tier).kernels(), logits, n), token));
}

// If true, the most likely token's probability is below `below` millionths.
INTACT_EXPORT(intact_is_uncertain)
int intact_is_uncertain(const char* tier, const std::int32_t* logits, int n, int below) {
    const std::int64_t most = (std::int64_t{1} << 30) * 1000000 / below;
    return read_row(find_tier(tier).kernels(), logits, n).mass > most;
}

// ------------------------------------------------------------------ weights

// Converts on the threads of the given model, if any.
INTACT_EXPORT(intact_convert)
Weight* intact_convert(Model* model, const char* kind, const std::uint8_t* data, int rows, int columns, int bits) {
    return new Weight(convert_finite(model, kind, data, rows, columns, bits));
}
INTACT_EXPORT(intact_source_bytes) double intact_source_bytes(const char* kind, int rows, int columns) {
    const WeightFormat* format = find_format(kind);
    return format == nullptr || columns % format->values ? -1
                                                         : static_cast<double>(source_bytes(*format, rows, columns));
}
INTACT_EXPORT(intact_pack)
Weight* intact_pack(int rows, int columns, int bits, int block, int zero, int shift, const std::int16_t* table,
                    const std::uint8_t* codes, const std::int16_t* scale, const std::int32_t* scale_exp,
                    const std::int16_t* minimum, const std::int32_t* minimum_exp) {
    demand(Weight::has_product(bits, block, table != nullptr), "there is no product for codes of such bits and block");
    const IntegerRows source{rows,  columns, bits,  block,     zero,    shift,
                             table, codes,   scale, scale_exp, minimum, minimum_exp};
    return new Weight(pack_integers(source, in_order));
}
INTACT_EXPORT(intact_weight_release) void intact_weight_release(Weight* weight) { delete weight; }

// ------------------------------------------------------------------ kernels

INTACT_EXPORT(intact_quantize)
Quantized* intact_quantize(const char* tier, const void* x, int rows, int columns, int fraction, int wide) {
    const Kernels& k = find_tier(tier).kernels();
    auto out = std::make_unique<Quantized>();
    out->rows = lay_out(out->memory, rows, columns);
    std::fill_n(out->memory.data(), out->memory.size(), std::uint8_t{0});
    for (int m = 0; m < rows; m++)
        if (wide)
            k.quantize_wide(static_cast<const std::int64_t*>(x) + std::int64_t{m} * columns, columns, fraction,
                            out->rows, m);
        else
            k.quantize_narrow(static_cast<const std::int32_t*>(x) + std::int64_t{m} * columns, columns, fraction,
                              out->rows, m);
    return out.release();
}
INTACT_EXPORT(intact_quantized_release) void intact_quantized_release(Quantized* rows) { delete rows; }

// Row m's codes, scales, exponent, sums of 32 and their exponent, sums of 16 and their exponent, as int64.
INTACT_EXPORT(intact_quantized)
void intact_quantized(const Quantized* from, int m, std::int64_t* codes, std::int64_t* scale, std::int64_t* exponent,
                      std::int64_t* sums32, std::int64_t* exponent32, std::int64_t* sums16, std::int64_t* exponent16) {
    const Activations& a = from->rows;
    std::copy_n(a.codes + m * a.stride, a.blocks * 32, codes);
    std::copy_n(a.scale + m * a.blocks, a.blocks, scale);
    *exponent = a.exponent[m];
    std::copy_n(a.minima32 + m * a.minima_stride, a.blocks, sums32);
    *exponent32 = a.minima32_exp[m];
    std::copy_n(a.minima16 + m * 2 * a.minima_stride, 2 * a.blocks, sums16);
    *exponent16 = a.minima16_exp[m];
}
// Computes a product into a narrow result, if there is one, and adds it to a wide one.
INTACT_EXPORT(intact_matmul)
void intact_matmul(const char* tier, const Weight* w, const Quantized* x, int rows, const std::int64_t* bias,
                   std::int32_t* narrow, std::int64_t* wide) {
    const Kernels& k = find_tier(tier).kernels();
    const Buffer room(static_cast<std::size_t>(4 * matmul_scratch(w->blocks(), k.products.row_bytes)));
    auto* scratch = reinterpret_cast<std::int32_t*>(room.data());
    const Matrix matrix = view(*w);
    k.products.matmul(matrix, x->rows, 0, rows, 0, w->panels(), {16, narrow, nullptr, false, w->rows, bias}, scratch,
                      false);
    k.products.matmul(matrix, x->rows, 0, rows, 0, w->panels(), {20, nullptr, wide, true, w->rows, bias}, scratch,
                      false);
}
INTACT_EXPORT(intact_norm)
void intact_norm(const char* tier, const std::int64_t* x, const std::int32_t* factor, int n, int exponent,
                 std::int64_t epsilon, std::int32_t* narrow, std::int64_t* wide) {
    find_tier(tier).kernels().norm_wide(x, {factor, n, exponent, epsilon}, narrow, wide, false);
}
INTACT_EXPORT(intact_norm_head)
void intact_norm_head(const char* tier, const std::int32_t* x, const std::int32_t* factor, int n, int exponent,
                      std::int64_t epsilon, std::int32_t* out) {
    find_tier(tier).kernels().norm_narrow(x, {factor, n, exponent, epsilon}, 16, out);
}
// Computes sines and cosines of a position, and rotates a head by them in place.
INTACT_EXPORT(intact_rotate)
void intact_rotate(const char* tier, int position, const std::uint64_t* turns, int n, std::int32_t* sine,
                   std::int32_t* cosine, std::int32_t* head, int interleaved) {
    const Kernels& k = find_tier(tier).kernels();
    k.sine_cosine(position, turns, n, sine, cosine);
    k.rotate(head, sine, cosine, n, interleaved != 0);
}
INTACT_EXPORT(intact_head_cache) OneHead* intact_head_cache(int width, int positions) {
    auto head = std::make_unique<OneHead>();
    const std::int64_t size = (positions + 15) / 16 * 16, depth = (width + 15) / 16 * 16;
    head->page = Buffer(static_cast<std::size_t>(size * (3 * depth + 8)));
    std::fill_n(head->page.data(), head->page.size(), std::uint8_t{0});
    head->address = head->page.data();
    const std::int64_t values = size * depth * 2, scales = values + size * depth;
    head->cache = {&head->address, size, depth, 0, values, scales, scales + size * 4};
    return head.release();
}
INTACT_EXPORT(intact_head_cache_release) void intact_head_cache_release(OneHead* head) { delete head; }
INTACT_EXPORT(intact_append)
void intact_append(const char* tier, OneHead* head, const std::int32_t* key, const std::int32_t* value, int width,
                   int position) {
    find_tier(tier).kernels().append(key, value, width, head->cache, position);
}
INTACT_EXPORT(intact_attend)
void intact_attend(const char* tier, const OneHead* head, const std::int32_t* query, int width, int first, int last,
                   std::int64_t mantissa, int exponent, int sink, std::int32_t* out) {
    const HeadCache& cache = head->cache;
    const Query one{query, first, last + 1, 0, out, cache.pages, sink};
    const Segment segment{first / 16 * 16, (last + 16) / 16 * 16, 0, 1};
    const Buffer scratch(static_cast<std::size_t>(attend_bytes(1, segment.end - segment.begin, cache.depth)));
    find_tier(tier).kernels().attend(&one, 1, &segment, 1, width, {mantissa, exponent}, cache, scratch.data());
}
INTACT_EXPORT(intact_gate)
void intact_gate(const char* tier, const std::int32_t* gate, const std::int32_t* up, int n, int kind,
                 std::int64_t* out) {
    find_tier(tier).kernels().gate(gate, up, n, static_cast<GateKind>(kind), out);
}
INTACT_EXPORT(intact_weights)
void intact_weights(const char* tier, const std::int32_t* logits, int n, std::int64_t slope, std::int32_t* out) {
    std::int64_t mass = 0;
    find_tier(tier).kernels().weights(logits, n, *std::max_element(logits, logits + n), slope, out, &mass);
}

}  // namespace intact
