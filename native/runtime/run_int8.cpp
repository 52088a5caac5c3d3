// The int8 profile (docs/numerics.md).
#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "formats/convert.h"
#include "runtime/attend.h"
#include "runtime/delta.h"
#include "runtime/exact.h"
#include "runtime/fixed_scale.h"
#include "runtime/step.h"

namespace intact {
namespace {

constexpr int kNarrow = 16, kWide = 20;  // fraction bits of narrow and wide rows
constexpr std::int64_t kPanels = 24;     // of results of as many rows as are packed together, that a cache holds

// Rows of a matrix as integers in Q20, and room for one on its way.
struct EmbeddedRow {
    explicit EmbeddedRow(const Weight& w)
        : codes(static_cast<std::size_t>(w.blocks() * 32)),
          scales(static_cast<std::size_t>(w.scale_blocks())),
          minima(scales.size()) {}

    // x += the row times a factor in Q24.
    void add(const Weight& w, std::int64_t row, std::int64_t factor, std::int64_t* x) {
        unpack_row(w, row, codes.data(), scales.data(), w.has_min ? minima.data() : nullptr);
        const std::int64_t shift = std::min(4 - w.scale_exp[row], 62);  // beyond 62 all is 0
        const std::int64_t half = (std::int64_t{1} << shift) >> 1;
        for (std::int64_t k = 0; k < w.columns; k++)
            x[k] += (at(codes, k) * (at(scales, k / w.block) * factor) + half) >> shift;
        if (!w.has_min) return;
        const std::int64_t own = std::min(4 - w.minimum_exp[row], 62), own_half = (std::int64_t{1} << own) >> 1;
        for (std::int64_t k = 0; k < w.columns; k++) x[k] += (at(minima, k / w.block) * factor + own_half) >> own;
    }

    std::vector<std::int32_t> codes;
    std::vector<std::int16_t> scales, minima;
};

struct Int8Run : Run {
    Int8Run(Model& model, Step& step, int thread) : Run(model, step, thread), fraction_(model.buffers.size(), kNarrow) {
        for (std::size_t b = 0; b < fraction_.size(); b++) fraction_[b] = usual(static_cast<int>(b));
    }

    void run() {
        angles();
        run_program(*this);
    }

    std::int32_t* narrow(int buffer, std::int64_t m) const { return row<std::int32_t>(buffer, m); }
    std::int64_t* wide(int buffer, std::int64_t m) const { return row<std::int64_t>(buffer, m); }
    // Fraction bits of what most operations write.
    int usual(int buffer) const { return spec(buffer).wide ? kWide : kNarrow; }
    // The thread's own room.
    std::int32_t* scratch(std::int64_t count) const {
        Buffer& room = at(m_.scratch, thread_);
        ensure(room, count * 4);
        return reinterpret_cast<std::int32_t*>(room.data());
    }

    // Whether an operation stands for itself; before it, threads meet where they must.
    bool begin(std::size_t i) {
        const Plan& plan = m_.plan[i];
        if (plan.meet) meet(Stopwatch::kRows);
        if (thread_ == 0 && m_.pager) m_.pager->reach(i);
        return !plan.skip;
    }

    void embed(const Op& op) {
        const Weight& w = at(m_.weights, op.weight)->packed;
        EmbeddedRow room(w);
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            std::fill_n(wide(op.target, m), w.columns, 0);
            room.add(w, s_.tokens[m], op.multiplier, wide(op.target, m));
        }
        if (op.positions >= 0 || op.bias >= 0) {
            constexpr std::int64_t kOne = std::int64_t{1} << 24;
            const Weight* const places = op.positions < 0 ? nullptr : &at(m_.weights, op.positions)->packed;
            EmbeddedRow other(places ? *places : w);
            embedded_rows(op, [&](std::int64_t m, int added) {
                if (places) other.add(*places, op.first + at(s_.position, m), kOne, wide(op.target, m));
                if (added >= 0) add_row(op.target, m, at(m_.biases, added).data());
            });
        }
        if (m_.pager) meet(Stopwatch::kRows);  // before thread 0 goes on, and the pager drops what others read
    }

    // The gain of a norm; of one over groups of columns that of the first.
    Gain gain(const Op& op) const {
        const NormGain& norm = at(m_.gains, op.weight);
        return {norm.factor.data(), std::ssize(norm.factor) / op.groups, norm.exponent, norm.epsilon};
    }

    // A norm of a whole row, or of each of its groups of columns, to a narrow or a wide row.
    void norm_row(const Op& op, const std::int64_t* x, std::int32_t* narrow, std::int64_t* wide) const {
        Gain g = gain(op);
        for (std::int64_t begin = 0; begin < op.groups * g.n; begin += g.n, g.factor += g.n)
            m_.kernel->norm_wide(x + begin, g, narrow ? narrow + begin : nullptr, wide ? wide + begin : nullptr,
                                 op.accumulate);
    }

    void norm(const Op& op) {
        if (op.centered) return norm_centered(op);
        const Gain g = gain(op);
        const bool to_wide = spec(op.target).wide;
        if (op.heads)
            by_heads(op.heads, [&](std::int64_t m, std::int64_t h) {
                m_.kernel->norm_narrow(narrow(op.source, m) + h * g.n, g, kNarrow, narrow(op.target, m) + h * g.n);
            });
        else
            for (std::int64_t m = mine_.begin; m < mine_.end; m++)
                norm_row(op, wide(op.source, m), to_wide ? nullptr : narrow(op.target, m),
                         to_wide ? wide(op.target, m) : nullptr);
        at(fraction_, op.target) = op.heads || to_wide ? usual(op.target) : 30 - g.exponent;
    }

    // A layer norm: of rows less their mean, plus a bias.
    void norm_centered(const Op& op) {
        constexpr std::int64_t kMost = std::int64_t{1} << 46;
        const Gain g = gain(op);
        const std::int64_t* added = op.bias < 0 ? nullptr : at(m_.biases, op.bias).data();
        const bool to_wide = spec(op.target).wide;
        auto* room = reinterpret_cast<std::int64_t*>(at(m_.own, thread_).wide.data());
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t* x = wide(op.source, m);
            std::transform(x, x + g.n, room, [=](std::int64_t value) { return std::clamp(value, -kMost, kMost); });
            const std::int64_t twice = 2 * std::accumulate(room, room + g.n, std::int64_t{0}) + g.n;
            const std::int64_t mean = twice / (2 * g.n) - (twice % (2 * g.n) < 0);  // rounded half up
            std::for_each(room, room + g.n, [&](std::int64_t& value) { value -= mean; });
            std::int64_t* y = room + g.n;
            m_.kernel->norm_wide(room, g, nullptr, y, false);
            for (std::int64_t i = 0; i < g.n; i++) {
                const std::int64_t value = y[i] + (added ? added[i] : 0);
                if (to_wide)
                    wide(op.target, m)[i] = value + (op.accumulate ? wide(op.target, m)[i] : 0);
                else
                    narrow(op.target, m)[i] =
                        static_cast<std::int32_t>(std::clamp<std::int64_t>((value + 8) >> 4, -INT32_MAX, INT32_MAX));
            }
        }
        at(fraction_, op.target) = usual(op.target);
    }

    void gather(const Op& op) {
        if (spec(op.source).wide)
            gather_rows<std::int64_t>(op);
        else
            gather_rows<std::int32_t>(op);
        at(fraction_, op.target) = at(fraction_, op.source);
    }

    void hadamard(const Op& op) {
        const std::int64_t width = spec(op.source).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            if (spec(op.source).wide)
                std::copy_n(wide(op.source, m), width, wide(op.target, m));
            else
                std::copy_n(narrow(op.source, m), width, wide(op.target, m));
            m_.kernel->hadamard(wide(op.target, m), width, op.width);
        }
        at(fraction_, op.target) = at(fraction_, op.source);
    }

    // Columns of a wide row times a number. The rows are in two parts, so that no product leaves 64 bits.
    void multiply_row(const Op& op) {
        constexpr std::int64_t kMost = std::int64_t{1} << 46, kPart = std::int64_t{1} << 24, kHalf = kPart / 2;
        const std::int64_t width = spec(op.target).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t* const x = wide(op.source, m) + op.first;
            const auto times = [&](std::int64_t i, std::int64_t half) {
                const std::int64_t value = std::clamp(x[i], -kMost, kMost);
                return (value >> 24) * op.multiplier + (((value & (kPart - 1)) * op.multiplier + half) >> 24);
            };
            if (spec(op.target).wide)
                for (std::int64_t i = 0; i < width; i++) wide(op.target, m)[i] = times(i, kHalf);
            else
                for (std::int64_t i = 0; i < width; i++)
                    narrow(op.target, m)[i] = static_cast<std::int32_t>(saturate(times(i, kHalf << 4) >> 4));
        }
        at(fraction_, op.target) = usual(op.target);
    }

    // Rows on their way into products, row i of `count` being row_of(i) of the source. A single row that is there for
    // everybody each thread quantises for itself: that takes less time than waiting for another to do it.
    template <class F>
    Activations quantize(std::size_t i, const Op& op, std::int64_t count, const std::vector<LinearTarget>& targets,
                         F row_of) {
        const Plan& plan = m_.plan[i];
        const bool own = count == 1 && plan.whole;
        const BufferSpec& from = spec(op.source);
        Activations a = lay_out(own ? at(m_.own, thread_).quantized : m_.quantized, count, from.width);
        a.skip_minima32 = a.skip_minima16 = true;
        for (const LinearTarget& target : targets) keep_minima(a, target.weight);
        const Span rows = own ? Span{0, 1} : part(count);
        const bool fixed = op.kind == Op::kLinear && op.scale.mantissa;
        const bool other = fixed || (m_.scheme && op.kind != Op::kLogits);
        for (std::int64_t k = rows.begin; k < rows.end; k++) {
            const std::int64_t m = row_of(k);
            if (other) {
                quantize_other(op, plan, m, a, k);
            } else if (plan.norm >= 0) {
                const Op& norm = at(m_.ops, plan.norm);
                auto* normed = reinterpret_cast<std::int32_t*>(at(m_.own, thread_).row.data());
                norm_row(norm, wide(norm.source, m), normed, nullptr);
                m_.kernel->quantize_narrow(normed, from.width, 30 - gain(norm).exponent, a, k);
            } else if (from.wide) {
                m_.kernel->quantize_wide(wide(op.source, m), from.width, at(fraction_, op.source), a, k);
            } else {
                m_.kernel->quantize_narrow(narrow(op.source, m), from.width, at(fraction_, op.source), a, k);
            }
            if (op.keep) {
                const std::int32_t* norms = op.norms.empty() ? nullptr : op.norms.data();
                m_.kernel->sparsify(a, k, from.width, {op.keep, norms, op.random});
            }
        }
        if (own)
            mark(Stopwatch::kRows);
        else
            meet(Stopwatch::kRows);
        if (m_.recording && thread_ == 0) record(i, a, count);
        return a;
    }

    // Row m by the operation's own scale, or the model's scheme.
    void quantize_other(const Op& op, const Plan& plan, std::int64_t m, const Activations& a, std::int64_t k) {
        const auto [x, fraction] = source_row(op, plan, m);
        if (op.kind == Op::kLinear && op.scale.mantissa)
            quantize_fixed(x, spec(op.source).width, fraction, {op.scale.mantissa, op.scale.exponent}, a, k);
        else
            m_.kernel->quantize_to(x, spec(op.source).width, fraction, scheme_of(op), a, k);
    }

    Scheme scheme_of(const Op& op) const {
        Scheme scheme = *m_.scheme;
        scheme.outliers = op.outliers;
        return scheme;
    }

    // Row m of what enters a product, after the norm that belongs to it, and its fraction.
    std::pair<const std::int64_t*, int> source_row(const Op& op, const Plan& plan, std::int64_t m) {
        const std::int64_t width = spec(op.source).width;
        Own& own = at(m_.own, thread_);
        auto* room = reinterpret_cast<std::int64_t*>(own.wide.data());
        const std::int64_t* x = room;
        int fraction = at(fraction_, op.source);
        if (plan.norm >= 0) {
            const Op& norm = at(m_.ops, plan.norm);
            auto* normed = reinterpret_cast<std::int32_t*>(own.row.data());
            norm_row(norm, wide(norm.source, m), normed, nullptr);
            std::copy_n(normed, width, room);
            fraction = 30 - gain(norm).exponent;
        } else if (spec(op.source).wide) {
            x = wide(op.source, m);
        } else {
            std::copy_n(narrow(op.source, m), width, room);
        }
        return {x, fraction};
    }

    void record(std::size_t i, const Activations& a, std::int64_t count) {
        const std::int64_t bytes = activation_bytes(a);
        std::vector<std::uint8_t>& to = m_.recorded.at(i);
        to.resize(static_cast<std::size_t>(count * bytes));
        for (std::int64_t k = 0; k < count; k++) copy_activations(a, k, to.data() + k * bytes);
    }

    void linear(const Op& op) {
        const std::size_t i = number(op);
        if (has_wide_codes(m_.scheme)) return exact(op);
        const Activations a = quantize(i, op, rows_, op.targets, [](std::int64_t m) { return m; });
        if (m_.plan[i].gate >= 0) {
            gated(op, a, static_cast<std::size_t>(m_.plan[i].gate));
        } else {
            for (const LinearTarget& target : op.targets) multiply(target, a);
        }
        meet(Stopwatch::kProduct);
    }

    // Adds an adapter's low-rank change, up (down x), to the rows of sequences that have it.
    void adapt(const Op& op) {
        const BufferSpec& to = spec(op.target);
        for (int number = 0; number < std::ssize(op.targets) / 2; number++) {
            const LinearTarget &down = at(op.targets, 2 * number), &up = at(op.targets, 2 * number + 1);
            if (down.weight < 0) continue;
            const std::vector<std::int64_t> rows = adapted(number);
            const std::int64_t count = std::ssize(rows), rank = at(m_.weights, down.weight)->matrix.rows;
            if (count == 0) continue;
            const Span mine = part(count);
            const Activations x =
                quantize(this->number(op), op, count, {down}, [&](std::int64_t k) { return at(rows, k); });
            auto* inner = reinterpret_cast<std::int32_t*>(m_.adapter_rows.data());
            multiply(down.weight, x, count, {kNarrow, inner, nullptr, false, rank, nullptr});
            meet(Stopwatch::kProduct);
            const Activations u = lay_out(m_.adapter_codes, count, rank);
            for (std::int64_t k = mine.begin; k < mine.end; k++) {
                if (m_.scheme) {
                    auto* room = reinterpret_cast<std::int64_t*>(at(m_.own, thread_).wide.data());
                    std::copy_n(inner + k * rank, rank, room);
                    m_.kernel->quantize_to(room, rank, kNarrow, *m_.scheme, u, k);
                } else {
                    m_.kernel->quantize_narrow(inner + k * rank, rank, kNarrow, u, k);
                }
            }
            meet(Stopwatch::kRows);
            auto* sums = reinterpret_cast<std::int64_t*>(m_.adapter_sums.data());
            multiply(up.weight, u, count, {usual(op.target), nullptr, sums, false, to.width, nullptr});
            meet(Stopwatch::kProduct);
            for (std::int64_t k = mine.begin; k < mine.end; k++) add_row(op.target, at(rows, k), sums + k * to.width);
            meet(Stopwatch::kRows);
        }
    }

    // Adds an adapter's vector to the rows of sequences that have it.
    void steer(const Op& op) const {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            if (const int added = steered(op, m); added >= 0) add_row(op.target, m, at(m_.biases, added).data());
    }

    void all_gather(const Op& op) {
        exchange_rows(op);
        at(fraction_, op.target) = usual(op.target);
    }

    // Adds integers of a buffer's usual fraction to one of its rows.
    void add_row(int buffer, std::int64_t m, const std::int64_t* added) const {
        for (std::int64_t n = 0; n < spec(buffer).width; n++)
            if (spec(buffer).wide)
                wide(buffer, m)[n] += added[n];
            else
                narrow(buffer, m)[n] = static_cast<std::int32_t>(
                    std::clamp<std::int64_t>(narrow(buffer, m)[n] + added[n], -INT32_MAX, INT32_MAX));
    }

    // Rows as wide codes, and products in int64.
    void exact(const Op& op) {
        const std::int64_t width = spec(op.source).width, ints = WideRow::ints(width);
        auto* rows = reinterpret_cast<std::int32_t*>(m_.wide_rows.data());
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const auto [x, fraction] = source_row(op, m_.plan[number(op)], m);
            quantize_wide_codes(x, width, fraction, *m_.scheme, rows + m * ints);
        }
        meet(Stopwatch::kRows);
        for (const LinearTarget& target : op.targets) {
            const MatrixWeight& w = *at(m_.weights, target.weight);
            const BufferSpec& to = spec(target.buffer);
            const std::int64_t* added = bias(target);
            ExactOutput output(w.packed, *m_.scheme);
            const Span mine = part(w.packed.rows);
            for (std::int64_t n = mine.begin; n < mine.end; n++) {
                output.read(n);
                for (std::int64_t m = 0; m < rows_; m++) {
                    const std::int64_t y = output.times(rows + m * ints, usual(target.buffer)) + (added ? added[n] : 0);
                    if (to.wide)
                        wide(target.buffer, m)[n] = y + (target.accumulate ? wide(target.buffer, m)[n] : 0);
                    else
                        narrow(target.buffer, m)[n] =
                            static_cast<std::int32_t>(std::clamp<std::int64_t>(y, -INT32_MAX, INT32_MAX));
                }
            }
            at(fraction_, target.buffer) = usual(target.buffer);
        }
        meet(Stopwatch::kProduct);
    }

    // A product whose two results a gate takes: some rows and outputs at a time, which then stay in the second-level
    // cache, and of few rows as many outputs as fit the same room.
    void gated(const Op& op, const Activations& a, std::size_t i) {
        const Op& gate = m_.ops[i];
        const Matrix& w = at(m_.weights, op.targets[0].weight)->matrix;
        const bool in_order = op.targets[0].buffer == gate.source;
        by_parts(w, rows_, most_panels(w, rows_), [&](Span rows, Span panels, bool again) {
            const std::int64_t n0 = panels.begin * 16, width = panels.size() * 16;
            const auto results = both(op.targets.data(), a, rows, panels, again);
            mark(Stopwatch::kProduct);
            enter(i);
            const std::int64_t count = std::min(panels.end * 16, w.rows) - n0;
            for (std::int64_t m = rows.begin; m < rows.end; m++)
                m_.kernel->gate(results[!in_order] + (m - rows.begin) * width,
                                results[in_order] + (m - rows.begin) * width, count, gate.gate,
                                wide(gate.target, m) + n0);
            mark(Stopwatch::kRows);
            enter(number(op));
        });
        for (const int buffer : {gate.target, op.targets[0].buffer, op.targets[1].buffer})
            at(fraction_, buffer) = usual(buffer);
    }

    // Panels of results of so many rows that stay in the second-level cache beside the rows.
    std::int64_t most_panels(const Matrix& w, std::int64_t rows) const {
        const std::int64_t height = row_block(w.blocks, m_.kernel->products.row_bytes);
        return kPanels * height / std::clamp<std::int64_t>(rows, 1, height);
    }

    // Products of rows with two matrices of one shape: the results, [row][16 * panels] each, in the thread's own room;
    // with one that is named twice its product is made once.
    std::array<std::int32_t*, 2> both(const LinearTarget* targets, const Activations& a, Span rows, Span panels,
                                      bool again) const {
        const Matrix& w = at(m_.weights, targets->weight)->matrix;
        const std::int64_t own = matmul_scratch(w.blocks, m_.kernel->products.row_bytes);
        const std::int64_t each = own + row_block(w.blocks, m_.kernel->products.row_bytes) * kPanels * 16;
        const std::int64_t n0 = panels.begin * 16, width = panels.size() * 16;
        std::array<std::int32_t*, 2> results{};
        std::int32_t* room = scratch(2 * each);
        for (std::size_t k = 0; k < 2; k++, room += each) {
            if (k == 1 && targets[1].weight == targets[0].weight && targets[1].bias == targets[0].bias) {
                results[1] = results[0];
                break;
            }
            results[k] = room + own;
            const Output out{kNarrow, results[k], nullptr, false, width, bias(targets[k]), -rows.begin * width - n0};
            m_.kernel->products.matmul(at(m_.weights, targets[k].weight)->matrix, a, rows.begin, rows.end, panels.begin,
                                       panels.end, out, room, again);
        }
        return results;
    }

    // Each row passes some experts: their rows stand side by side, so that an expert's matrices are read once a step.
    void experts(const Op& op) {
        at(fraction_, op.target) = kWide;
        if (rows_ == 0) return;  // behind the last attention, where no logits are wanted
        const std::int64_t used = op.routing.used, count = std::ssize(op.targets) / 3, width = spec(op.source).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            choose_experts(narrow(op.second, m), count, op.bias < 0 ? nullptr : at(m_.biases, op.bias).data(),
                           op.added < 0 ? nullptr : at(m_.biases, op.added).data(), op.routing, *m_.kernel,
                           &at(s_.choices, m * used));
        const Activations from = quantize(number(op), op, rows_, op.targets, [](std::int64_t m) { return m; });
        const Matrix& first = at(m_.weights, op.targets[0].weight)->matrix;
        const Matrix& last = at(m_.weights, op.targets[2].weight)->matrix;
        const std::int64_t height = std::min(row_block(first.blocks, m_.kernel->products.row_bytes),
                                             row_block(last.blocks, m_.kernel->products.row_bytes));
        const ExpertPairs by = group_by_expert(s_.choices.data(), rows_, used, count, height);
        const Span pairs = part(std::ssize(by.pairs));
        if (thread_ == 0 && m_.pager) m_.pager->choose(number(op), by.groups);
        Activations a = lay_out(m_.expert_rows, std::ssize(by.pairs), width);
        for (std::int64_t p = pairs.begin; p < pairs.end; p++) copy_row(from, at(by.pairs, p).row, a, p);
        meet(Stopwatch::kRows);

        auto* hidden = reinterpret_cast<std::int64_t*>(m_.expert_hidden.data());
        const std::int64_t most = most_panels(first, rows_);
        by_blocks(first, std::ssize(by.groups), std::min(rows_, height), most,
                  [&](std::int64_t g, Span panels, bool again) {
                      const auto& [expert, rows] = at(by.groups, g);
                      const auto results = both(&at(op.targets, 3 * expert), a, rows, panels, again);
                      const std::int64_t n0 = panels.begin * 16, n = std::min(panels.end * 16, first.rows) - n0;
                      for (std::int64_t i = 0; i < rows.size(); i++)
                          m_.kernel->gate(results[0] + i * panels.size() * 16, results[1] + i * panels.size() * 16, n,
                                          op.gate, hidden + (rows.begin + i) * op.width + n0);
                  });
        meet(Stopwatch::kProduct);

        a = lay_out(m_.expert_codes, std::ssize(by.pairs), op.width);
        a.skip_minima32 = from.skip_minima32;
        a.skip_minima16 = from.skip_minima16;
        for (std::int64_t p = pairs.begin; p < pairs.end; p++)
            if (m_.scheme)
                m_.kernel->quantize_to(hidden + p * op.width, op.width, kWide, *m_.scheme, a, p);
            else
                m_.kernel->quantize_wide(hidden + p * op.width, op.width, kWide, a, p);
        meet(Stopwatch::kRows);

        add_experts(op, by, last, a);
        meet(Stopwatch::kProduct);
    }

    // The last product of experts, for outputs of this thread's own: results of several experts go to one row.
    void add_experts(const Op& op, const ExpertPairs& by, const Matrix& last, const Activations& a) {
        const Span mine = part((last.rows + 15) / 16);
        const std::int64_t end = std::min(mine.end * 16, last.rows);
        for (std::int64_t m = 0; m < rows_ && !op.accumulate; m++)
            std::fill(wide(op.target, m) + mine.begin * 16, wide(op.target, m) + std::max(end, mine.begin * 16), 0);
        const std::int64_t own = matmul_scratch(last.blocks, m_.kernel->products.row_bytes);
        const std::int64_t height = row_block(last.blocks, m_.kernel->products.row_bytes);
        std::int32_t* room = scratch(own + height * kPanels * 32);
        auto* results = reinterpret_cast<std::int64_t*>(room + (own + 1) / 2 * 2);
        const std::int64_t most = most_panels(last, rows_);
        for (const auto& [expert, rows] : by.groups) {
            const LinearTarget& target = at(op.targets, 3 * expert + 2);
            for (std::int64_t from = mine.begin; from < mine.end; from += most) {
                const std::int64_t to = std::min(from + most, mine.end), stride = (to - from) * 16, n0 = from * 16;
                const Output out{kWide, nullptr, results, false, stride, bias(target), -rows.begin * stride - n0};
                m_.kernel->products.matmul(at(m_.weights, target.weight)->matrix, a, rows.begin, rows.end, from, to,
                                           out, room, from > mine.begin);
                for (std::int64_t p = rows.begin; p < rows.end; p++)
                    m_.kernel->add_scaled(results + (p - rows.begin) * stride, std::min(to * 16, last.rows) - n0,
                                          at(by.pairs, p).weight, wide(op.target, at(by.pairs, p).row) + n0);
            }
        }
    }

    // Row i of some quantised rows as row k of others of the same width.
    static void copy_row(const Activations& from, std::int64_t i, const Activations& to, std::int64_t k) {
        const auto copy = [&](const auto* source, auto* target, std::int64_t count) {
            std::copy_n(source + i * count, count, target + k * count);
        };
        copy(from.codes, to.codes, from.stride);
        copy(from.scale, to.scale, from.blocks);
        copy(from.half_sums, to.half_sums, 2 * from.blocks);
        copy(from.exponent, to.exponent, 1);
        if (!from.skip_minima32) copy(from.minima32, to.minima32, from.minima_stride);
        if (!from.skip_minima32) copy(from.minima32_exp, to.minima32_exp, 1);
        if (!from.skip_minima16) copy(from.minima16, to.minima16, 2 * from.minima_stride);
        if (!from.skip_minima16) copy(from.minima16_exp, to.minima16_exp, 1);
    }

    const std::int64_t* bias(const LinearTarget& target) const {
        return target.bias < 0 ? nullptr : at(m_.biases, target.bias).data();
    }

    void multiply(const LinearTarget& target, const Activations& a) {
        const BufferSpec& to = spec(target.buffer);
        Output out{kNarrow, nullptr, nullptr, target.accumulate, to.width, bias(target)};
        if (to.wide) {
            out.fraction = kWide;
            out.wide = wide(target.buffer, 0);
        } else {
            out.narrow = narrow(target.buffer, 0);
        }
        multiply(target.weight, a, rows_, out);
        at(fraction_, target.buffer) = usual(target.buffer);
    }

    void rope(const Op& op) {
        const auto half = static_cast<std::int64_t>(at(m_.rotations, op.weight).turns.size());
        by_heads(op.heads, [&](std::int64_t m, std::int64_t h) {
            m_.kernel->rotate(narrow(op.source, m) + h * op.width, &at(at(s_.sine, op.weight), m * half),
                              &at(at(s_.cosine, op.weight), m * half), half, op.interleaved);
        });
    }

    void attend(const Op& op) {
        const Plan& plan = at(m_.plan, number(op));
        const bool narrow = plan.last && s_.narrows;
        attend_int8(m_, s_, narrow ? s_.wanted_forest : s_.forest, op, thread_, next());
        at(fraction_, op.target) = kNarrow;
        if (narrow) go_on(plan.live);
    }

    // Keeps the products of this thread's rows, waits for the others, and sums over positions.
    void convolve(const Op& op) {
        const std::int64_t n = spec(op.target).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) keep_products(op, m, n);
        sum_taps(op, n, [&](std::int64_t m, const std::vector<std::int64_t>& sum) {
            const std::int32_t* const gate = narrow(op.source, m) + n;
            constexpr std::int64_t kHalf = std::int64_t{1} << 19;
            for (std::int64_t i = 0; i < n; i++)
                wide(op.target, m)[i] = (saturate((at(sum, i) + kHalf) >> 20) * gate[i] + (1 << 11)) >> 12;
        });
        at(fraction_, op.target) = kWide;
    }

    // The same of rows as they come, with SiLU in the place of the gate.
    void convolve_silu(const Op& op) {
        const std::int64_t n = spec(op.target).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const auto [codes, exponent] = kept_codes(op, m, at(s_.slot, m), n);
            *exponent = row_codes(narrow(op.source, m), n, codes);
        }
        std::vector<std::int32_t> room(static_cast<std::size_t>(n));
        sum_taps(op, n, [&](std::int64_t m, const std::vector<std::int64_t>& sum) {
            silu(sum, op.added < 0 ? nullptr : at(m_.biases, op.added).data(), narrow(op.target, m), room.data());
        });
        at(fraction_, op.target) = kNarrow;
    }

    // Waits for the rows that others keep, and calls f(m, sum) for this thread's: sums over positions, Q36.
    template <class F> void sum_taps(const Op& op, std::int64_t n, F f) {
        meet(Stopwatch::kRows);
        const std::int64_t* const taps = at(m_.biases, op.bias).data();  // [tap][channel], the position's own last
        std::vector<std::int64_t> sum(static_cast<std::size_t>(n));
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            std::fill(sum.begin(), sum.end(), 0);
            std::int64_t slot = at(s_.slot, m);
            for (std::int64_t tap = op.width - 1; tap >= 0 && slot >= 0; tap--, slot = slot_before(m, slot)) {
                const auto [codes, exponent] = kept_codes(op, m, slot, n);
                for (std::int64_t i = 0; i < n; i++)
                    at(sum, i) += taps[tap * n + i] * (std::int64_t{codes[i]} << *exponent);
            }
            f(m, sum);
        }
        const Plan& plan = at(m_.plan, number(op));
        if (!plan.last) return;
        meet(Stopwatch::kRows);
        if (s_.narrows) go_on(plan.live);
    }

    // What a convolution keeps of slot `slot` of row m's text: n codes and their exponent.
    std::pair<std::int16_t*, std::int32_t*> kept_codes(const Op& op, std::int64_t m, std::int64_t slot,
                                                       std::int64_t n) const {
        const auto [rows, place] = kept(op, m, slot);
        return {reinterpret_cast<std::int16_t*>(rows) + place * n,
                reinterpret_cast<std::int32_t*>(rows + m_.page_size * 2 * n) + place};
    }

    // SiLU of sums of a convolution, Q36, with what is added to them, Q16; `room` for as many numbers.
    void silu(const std::vector<std::int64_t>& sum, const std::int64_t* added, std::int32_t* y,
              std::int32_t* room) const {
        const auto n = std::ssize(sum);
        for (std::int64_t i = 0; i < n; i++)
            y[i] = static_cast<std::int32_t>(saturate(((at(sum, i) + (1 << 19)) >> 20) + (added ? added[i] : 0)));
        m_.kernel->sigmoid(y, n, room);
        for (std::int64_t i = 0; i < n; i++)
            y[i] = static_cast<std::int32_t>((std::int64_t{y[i]} * room[i] + (std::int64_t{1} << 29)) >> 30);
    }

    // Keeps rows as they come, then x, B and C behind the convolution, and steps; then each thread runs some heads.
    // Calls f(row, x, m) for this thread's rows of a scan: x is SiLU of the convolution, Q16.
    template <class F> void convolve_rows(const Op& op, const std::int64_t* added, F f) const {
        const ScanForm& form = op.scan;
        const std::int64_t n = form.channels();
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const ScanRow row = kept_row(op, m, at(s_.position, m));
            row.exponents[0] = row_codes(narrow(op.source, m), n, row.raw);
        }
        meet(Stopwatch::kRows);
        const std::int64_t* const taps = at(m_.biases, op.bias).data();
        std::vector<std::int64_t> sum(static_cast<std::size_t>(n));
        std::vector<std::int32_t> mixed(sum.size()), sigmoid(sum.size());
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t p = at(s_.position, m);
            std::fill(sum.begin(), sum.end(), 0);
            for (std::int64_t tap = form.taps - 1, q = p; tap >= 0 && q >= 0; tap--, q--) {
                const ScanRow row = kept_row(op, m, q);
                for (std::int64_t i = 0; i < n; i++)
                    at(sum, i) += taps[tap * n + i] * (std::int64_t{row.raw[i]} << row.exponents[0]);
            }
            silu(sum, added, mixed.data(), sigmoid.data());
            f(kept_row(op, m, p), mixed.data(), m);
        }
        meet(Stopwatch::kRows);
    }

    void keep_steps(const Op& op, const ScanRow& row, std::int64_t m) const {
        const std::int64_t* const bias = at(m_.biases, op.scan.step_bias).data();
        for (std::int64_t head = 0; head < op.scan.heads; head++)
            row.steps[head] = softplus(saturate(narrow(op.second, m)[head] + bias[head]));
    }

    // Behind the last scan the wanted rows alone go on.
    void end_scan(const Op& op) {
        at(fraction_, op.target) = kNarrow;
        meet(Stopwatch::kProduct);
        const Plan& plan = at(m_.plan, number(op));
        if (plan.last && s_.narrows) go_on(plan.live);
    }

    void scan(const Op& op) {
        const ScanForm& form = op.scan;
        const std::int64_t inner = form.inner(), columns = form.columns();
        convolve_rows(op, at(m_.biases, form.bias).data(), [&](ScanRow row, const std::int32_t* mixed, std::int64_t m) {
            row.exponents[1] = row_codes(mixed, inner, row.mixed);
            for (const int part : {0, 1}) {
                const std::int64_t from = inner + part * columns;
                row.exponents[2 + part] = row_codes(mixed + from, columns, row.mixed + from);
            }
            keep_steps(op, row, m);
        });
        run_blocks<std::int32_t>(op, ScanBlock(form, at(m_.biases, form.rate).data(), at(m_.biases, form.skip).data()));
        end_scan(op);
    }

    void delta(const Op& op) {
        const ScanForm& form = op.scan;
        convolve_rows(op, nullptr, [&](ScanRow row, const std::int32_t* mixed, std::int64_t m) {
            for (std::int64_t i = 0; i < form.kept(); i += form.states)
                unit_codes(mixed + i, form.states, row.mixed + i);
            std::copy_n(mixed + form.kept(), form.inner(), row.values);
            m_.kernel->sigmoid(narrow(op.third, m), form.heads, row.strengths);
            keep_steps(op, row, m);
        });
        m_.saturated +=
            run_blocks<std::int32_t>(op, DeltaBlock(form, at(m_.biases, form.rate).data(), m_.kernel)).saturated();
        end_scan(op);
    }

    // Keeps x, B and C of this thread's rows; then steps of its channels, which it leads from position to position.
    void selective(const Op& op) {
        const ScanForm& form = op.scan;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const ScanRow row = kept_row(op, m, at(s_.position, m));
            std::copy_n(narrow(op.source, m), form.inner(), row.values);
            row.exponents[2] = row_codes(narrow(op.third, m), form.states, row.mixed);
            row.exponents[3] = row_codes(narrow(op.fourth, m), form.states, row.mixed + form.states);
        }
        const Span channels = part(form.heads);
        for (std::int64_t m = 0; m < s_.rows; m++) {
            std::uint32_t* const steps = kept_row(op, m, at(s_.position, m)).steps;
            for (std::int64_t c = channels.begin; c < channels.end; c++) steps[c] = softplus(narrow(op.second, m)[c]);
        }
        meet(Stopwatch::kRows);
        run_positions<std::int32_t>(
            op, SelectiveBlock(form, at(m_.biases, form.rate).data(), at(m_.biases, form.skip).data(), nullptr));
        end_scan(op);
    }

    // Keeps SiLU of this thread's rows and by how much a state moves towards it; then leads states of its channels from
    // position to position.
    void recurrence(const Op& op) {
        const std::int64_t n = op.scan.heads;
        const std::int64_t* const room = at(m_.biases, op.scan.rate).data();
        const auto rounded = [](std::int64_t x) { return (x + (std::int64_t{1} << 29)) >> 30; };
        std::vector<std::int32_t> sigmoid(static_cast<std::size_t>(n));
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const ScanRow row = kept_row(op, m, at(s_.position, m));
            const std::int32_t* const x = narrow(op.source, m);
            m_.kernel->sigmoid(x, n, sigmoid.data());
            for (std::int64_t i = 0; i < n; i++)
                row.values[i] = static_cast<std::int32_t>(rounded(std::int64_t{x[i]} * at(sigmoid, i)));
            m_.kernel->sigmoid(narrow(op.second, m), n, sigmoid.data());
            for (std::int64_t i = 0; i < n; i++)
                row.steps[i] = static_cast<std::uint32_t>(rounded(room[i] * (kOne30 - at(sigmoid, i))));
        }
        meet(Stopwatch::kRows);
        run_positions<std::int32_t>(op, RecurrenceBlock());
        end_scan(op);
    }

    void trapezoidal(const Op& op) {
        run_trapezoidal<std::int32_t>(op);
        end_scan(op);
    }

    static std::int64_t saturate(std::int64_t x) { return std::clamp<std::int64_t>(x, -INT32_MAX, INT32_MAX); }

    // The products of a row's first and last third, as 15 bits and a sign under one exponent.
    void keep_products(const Op& op, std::int64_t m, std::int64_t n) const {
        const std::int32_t *const before = narrow(op.source, m), *const x = before + 2 * n;
        const auto product = [&](std::int64_t i) {
            return saturate((std::int64_t{before[i]} * x[i] + (1 << 15)) >> 16);
        };
        std::uint64_t bits = 0;
        for (std::int64_t i = 0; i < n; i++) bits |= static_cast<std::uint64_t>(std::abs(product(i)));
        const int exponent = std::max(0, static_cast<int>(std::bit_width(bits)) - 15);
        const std::int64_t half = (std::int64_t{1} << exponent) >> 1;
        const auto [codes, kept_exponent] = kept_codes(op, m, at(s_.slot, m), n);
        for (std::int64_t i = 0; i < n; i++)
            codes[i] =
                static_cast<std::int16_t>(std::clamp<std::int64_t>((product(i) + half) >> exponent, -32767, 32767));
        *kept_exponent = exponent;
    }

    // Moves the wanted rows to the front: behind the last attention or convolution no other row is read.
    void go_on(const std::vector<int>& live) {
        if (thread_ == 0)
            for (const int buffer : live) {
                const std::int64_t bytes = spec(buffer).width * (spec(buffer).wide ? 8 : 4);
                for (std::int64_t i = 0; i < s_.wanted_count; i++) {
                    std::uint8_t* memory = at(m_.memory, buffer).data();
                    std::copy_n(memory + s_.wanted[i] * bytes, s_.wanted[i] == i ? 0 : bytes, memory + i * bytes);
                }
            }
        meet(Stopwatch::kRows);
        take(s_.wanted_count);
    }

    void gate(const Op& op) {
        if (op.second < 0) ones_.assign(static_cast<std::size_t>(spec(op.source).width), 1 << kNarrow);
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            m_.kernel->gate(narrow(op.source, m), op.second < 0 ? ones_.data() : narrow(op.second, m),
                            spec(op.source).width, op.gate, wide(op.target, m));
    }

    void logits(const Op& op) {
        const Activations a = quantize(number(op), op, s_.wanted_count, {{-1, op.weight, -1, false}},
                                       [&](std::int64_t i) { return rows_ < s_.rows ? i : s_.wanted[i]; });
        if (thread_ == 0) m_.head.codes = a;
        if (op.weight < 0) return;
        const std::int64_t outputs = at(m_.weights, op.weight)->matrix.rows;
        multiply(op.weight, a, s_.wanted_count, {kNarrow, s_.logits, nullptr, false, outputs, nullptr});
        if (!op.cap.slope) return;
        meet(Stopwatch::kProduct);
        const Span mine = part(s_.wanted_count * outputs);
        m_.kernel->soft_cap(s_.logits + mine.begin, mine.size(), op.cap);
    }

    // All threads come to the step's shared works in the same order.
    Share next() { return {&at(s_.shares, shared_++ * threads_), threads_}; }

    std::size_t number(const Op& op) const { return static_cast<std::size_t>(&op - m_.ops.data()); }

    void keep_minima(Activations& a, int weight) const {
        if (weight < 0) return;
        const Matrix& w = at(m_.weights, weight)->matrix;
        if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
    }

    // What this thread takes of a product.
    void multiply(int weight, const Activations& a, std::int64_t rows, const Output& out) {
        const Matrix& w = at(m_.weights, weight)->matrix;
        std::int32_t* room = scratch(matmul_scratch(w.blocks, m_.kernel->products.row_bytes));
        by_parts(w, rows, w.rows, [&](Span some, Span panels, bool again) {
            m_.kernel->products.matmul(w, a, some.begin, some.end, panels.begin, panels.end, out, room, again);
        });
    }

    // Calls f(rows, panels, again) for what this thread takes of a product: rows that are packed together, by at most
    // so many panels. again: these rows are still packed.
    template <class F> void by_parts(const Matrix& w, std::int64_t rows, std::int64_t most, F f) {
        constexpr std::int64_t kSmall = 1 << 20;  // bytes of codes that come from a near cache
        // Rows of a thread's own for which it had better read all weights itself.
        const std::int64_t own = w.rows * w.blocks * 4 * w.bits <= kSmall ? 32 : 64;
        if (rows == 0) return;
        const std::int64_t most_rows = row_block(w.blocks, m_.kernel->products.row_bytes);
        std::int64_t blocks = (rows + most_rows - 1) / most_rows;
        if (rows >= own * threads_) blocks = (blocks + threads_ - 1) / threads_ * threads_;
        const std::int64_t height = std::min(((rows + blocks - 1) / blocks + 15) / 16 * 16, most_rows);
        by_blocks(w, (rows + height - 1) / height, std::min(rows, height), most,
                  [&](std::int64_t block, Span panels, bool again) {
                      f(Span{block * height, std::min((block + 1) * height, rows)}, panels, again);
                  });
    }

    // Calls f(block, panels, again) for what this thread takes of products of blocks of `height` rows or so.
    template <class F>
    void by_blocks(const Matrix& w, std::int64_t blocks, std::int64_t height, std::int64_t most, F f) {
        constexpr std::int64_t kWorth = 1 << 17;  // products of numbers: about a microsecond
        const std::int64_t panels = (w.rows + 15) / 16, pair = 2 * 16 * 32 * w.blocks * height;  // of panels
        std::int64_t last = -1;
        share(next(), blocks * panels, 2 * ((kWorth + pair - 1) / pair), [&](Span piece) {
            while (piece.size() > 0) {
                const std::int64_t block = piece.begin / panels, before = block * panels, n = piece.begin - before;
                const Span some{n, std::min({piece.end - before, n + most, panels})};
                f(block, some, block == last);
                last = block;
                piece.begin = before + some.end;
            }
        });
    }

    int shared_ = 0;             // works so far
    std::vector<int> fraction_;  // of each buffer, as of the operation at hand
    std::vector<std::int32_t> ones_;
};

}  // namespace

void run_int8(Model& model, Step& step, int thread) { Int8Run(model, step, thread).run(); }

}  // namespace intact
