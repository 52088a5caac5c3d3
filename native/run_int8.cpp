// The int8 profile (docs/numerics.md).
#include <algorithm>

#include "attend.h"
#include "convert.h"
#include "step.h"

namespace intact {
namespace {

constexpr int kNarrow = 16, kWide = 20;  // fraction bits of narrow and wide rows

struct Int8Run : Run {
    Int8Run(Model& model, Step& step, int thread)
        : Run(model, step, thread), fraction_(model.buffers.size(), kNarrow) {}

    void run() {
        angles();
        run_program(*this);
    }

    std::int32_t* narrow(int buffer, std::int64_t m) const { return row<std::int32_t>(buffer, m); }
    std::int64_t* wide(int buffer, std::int64_t m) const { return row<std::int64_t>(buffer, m); }
    Buffer& scratch() const { return at(m_.scratch, thread_); }

    // Whether an operation stands for itself; before it, threads meet where they must.
    bool begin(std::size_t i) {
        const Plan& plan = m_.plan[i];
        if (plan.meet) meet(Stopwatch::kRows);
        return !plan.skip;
    }

    void embed(const Op& op) {
        const Weight& w = at(m_.weights, op.weight)->packed;
        std::vector<std::int32_t> codes(static_cast<std::size_t>(w.blocks() * 32));
        std::vector<std::int16_t> scales(static_cast<std::size_t>(w.scale_blocks())), minima(scales.size());
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t token = s_.tokens[m];
            unpack_row(w, token, codes.data(), scales.data(), w.has_min ? minima.data() : nullptr);
            const std::int64_t shift = std::min(4 - w.scale_exp[token], 62);  // beyond 62 all is 0
            const std::int64_t half = (std::int64_t{1} << shift) >> 1;
            std::int64_t* x = wide(op.target, m);
            for (std::int64_t k = 0; k < w.columns; k++)
                x[k] = (at(codes, k) * (at(scales, k / w.block) * op.multiplier) + half) >> shift;
            if (!w.has_min) continue;
            const std::int64_t own = std::min(4 - w.minimum_exp[token], 62), own_half = (std::int64_t{1} << own) >> 1;
            for (std::int64_t k = 0; k < w.columns; k++)
                x[k] += (at(minima, k / w.block) * op.multiplier + own_half) >> own;
        }
    }

    Gain gain(const Op& op) const {
        const NormGain& norm = at(m_.gains, op.weight);
        return {norm.factor.data(), static_cast<std::int64_t>(norm.factor.size()), norm.exponent, norm.epsilon};
    }

    void norm(const Op& op) {
        const Gain g = gain(op);
        const bool to_wide = spec(op.target).wide;
        if (op.heads)
            by_heads(op.heads, [&](std::int64_t m, std::int64_t h) {
                m_.kernel->norm_narrow(narrow(op.source, m) + h * g.n, g, kNarrow, narrow(op.target, m) + h * g.n);
            });
        else
            for (std::int64_t m = mine_.begin; m < mine_.end; m++)
                m_.kernel->norm_wide(wide(op.source, m), g, to_wide ? nullptr : narrow(op.target, m),
                                     to_wide ? wide(op.target, m) : nullptr, op.accumulate);
        at(fraction_, op.target) = op.heads ? kNarrow : 30 - g.exponent;
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
        for (std::int64_t k = rows.begin; k < rows.end; k++) {
            const std::int64_t m = row_of(k);
            if (plan.norm >= 0) {
                const Op& norm = at(m_.ops, plan.norm);
                const Gain g = gain(norm);
                auto* normed = reinterpret_cast<std::int32_t*>(at(m_.own, thread_).row.data());
                m_.kernel->norm_wide(wide(norm.source, m), g, normed, nullptr, false);
                m_.kernel->quantize_narrow(normed, from.width, 30 - g.exponent, a, k);
            } else if (from.wide) {
                m_.kernel->quantize_wide(wide(op.source, m), from.width, a, k);
            } else {
                m_.kernel->quantize_narrow(narrow(op.source, m), from.width, at(fraction_, op.source), a, k);
            }
        }
        if (own)
            mark(Stopwatch::kRows);
        else
            meet(Stopwatch::kRows);
        return a;
    }

    void linear(const Op& op) {
        const std::size_t i = number(op);
        const Activations a = quantize(i, op, rows_, op.targets, [](std::int64_t m) { return m; });
        const int gate = m_.plan[i].gate;
        // With a gate a block of rows at a time, whose results are then still in a cache.
        const std::int64_t block = gate < 0 ? rows_ : kMostRows;
        for (std::int64_t first = 0; first < rows_; first += block) {
            const Span rows{first, std::min(first + block, rows_)};
            for (const LinearTarget& target : op.targets) multiply(target, a, rows);
            mark(Stopwatch::kProduct);
            if (gate < 0) continue;
            enter(static_cast<std::size_t>(gate));
            const Span panels = part((at(m_.weights, op.targets[0].weight)->matrix.rows + 15) / 16);
            this->gate(at(m_.ops, gate), rows, {panels.begin * 16, panels.end * 16});
            mark(Stopwatch::kRows);
            enter(i);
        }
        meet(Stopwatch::kProduct);
    }

    void multiply(const LinearTarget& target, const Activations& a, Span rows) {
        const BufferSpec& to = spec(target.buffer);
        const std::int64_t* bias = target.bias < 0 ? nullptr : at(m_.biases, target.bias).data();
        Output out{kNarrow, nullptr, nullptr, target.accumulate, to.width, bias};
        if (to.wide) {
            out.fraction = kWide;
            out.wide = wide(target.buffer, 0);
        } else {
            out.narrow = narrow(target.buffer, 0);
        }
        multiply(target.weight, a, rows, out);
        at(fraction_, target.buffer) = kNarrow;
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
        attend_int8(m_, s_, narrow ? s_.wanted_forest : s_.forest, op, thread_);
        at(fraction_, op.target) = kNarrow;
        if (narrow) go_on(plan.live);
    }

    // Moves the wanted rows to the front: behind the last attention no other row is read.
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

    void gate(const Op& op) { gate(op, mine_, {0, spec(op.source).width}); }
    void gate(const Op& op, Span rows, Span columns) {
        const std::int64_t begin = columns.begin, count = std::min(columns.end, spec(op.source).width) - begin;
        for (std::int64_t m = rows.begin; m < rows.end; m++)
            m_.kernel->gate(narrow(op.source, m) + begin, narrow(op.second, m) + begin, count, op.gelu,
                            wide(op.target, m) + begin);
    }

    void logits(const Op& op) {
        const Activations a = quantize(number(op), op, s_.wanted_count, {{-1, op.weight, -1, false}},
                                       [&](std::int64_t i) { return rows_ < s_.rows ? i : s_.wanted[i]; });
        if (thread_ == 0) m_.head.codes = a;
        const std::int64_t outputs = at(m_.weights, op.weight)->matrix.rows;
        multiply(op.weight, a, {0, s_.wanted_count}, {kNarrow, s_.logits, nullptr, false, outputs, nullptr});
    }

    std::size_t number(const Op& op) const { return static_cast<std::size_t>(&op - m_.ops.data()); }

    void keep_minima(Activations& a, int weight) const {
        const Matrix& w = at(m_.weights, weight)->matrix;
        if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
    }

    // This thread's share of the outputs.
    void multiply(int weight, const Activations& a, Span rows, const Output& out) {
        const Matrix& w = at(m_.weights, weight)->matrix;
        ensure(scratch(), matmul_scratch(w.blocks) * 4);
        const Span panels = part((w.rows + 15) / 16);
        m_.kernel->matmul(w, a, rows.begin, rows.end, panels.begin, panels.end, out,
                          reinterpret_cast<std::int32_t*>(scratch().data()));
    }

    std::vector<int> fraction_;  // of each buffer, as of the operation at hand
};

}  // namespace

void run_int8(Model& model, Step& step, int thread) { Int8Run(model, step, thread).run(); }

}  // namespace intact
