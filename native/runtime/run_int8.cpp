// The int8 profile (docs/numerics.md).
#include <algorithm>
#include <utility>

#include "formats/convert.h"
#include "runtime/attend.h"
#include "runtime/exact.h"
#include "runtime/step.h"

namespace intact {
namespace {

constexpr int kNarrow = 16, kWide = 20;  // fraction bits of narrow and wide rows

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
        at(fraction_, op.target) = op.heads || to_wide ? usual(op.target) : 30 - g.exponent;
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
        const bool other = m_.scheme && op.kind == Op::kLinear;
        for (std::int64_t k = rows.begin; k < rows.end; k++) {
            const std::int64_t m = row_of(k);
            if (other) {
                quantize_other(op, plan, m, a, k);
            } else if (plan.norm >= 0) {
                const Op& norm = at(m_.ops, plan.norm);
                const Gain g = gain(norm);
                auto* normed = reinterpret_cast<std::int32_t*>(at(m_.own, thread_).row.data());
                m_.kernel->norm_wide(wide(norm.source, m), g, normed, nullptr, false);
                m_.kernel->quantize_narrow(normed, from.width, 30 - g.exponent, a, k);
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

    // Row m by the model's scheme.
    void quantize_other(const Op& op, const Plan& plan, std::int64_t m, const Activations& a, std::int64_t k) {
        const auto [x, fraction] = source_row(op, plan, m);
        m_.kernel->quantize_to(x, spec(op.source).width, fraction, *m_.scheme, a, k);
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
            const Gain g = gain(norm);
            auto* normed = reinterpret_cast<std::int32_t*>(own.row.data());
            m_.kernel->norm_wide(wide(norm.source, m), g, normed, nullptr, false);
            std::copy_n(normed, width, room);
            fraction = 30 - g.exponent;
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
            ExactOutput output(w.packed);
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
        constexpr std::int64_t kPanels = 24;  // of as many rows as are packed together
        const Op& gate = m_.ops[i];
        const Matrix& w = at(m_.weights, op.targets[0].weight)->matrix;
        const std::int64_t own = matmul_scratch(w.blocks, m_.kernel->row_bytes);
        const std::int64_t height = row_block(w.blocks, m_.kernel->row_bytes), each = own + height * kPanels * 16;
        const std::int64_t most = kPanels * height / std::clamp<std::int64_t>(rows_, 1, height);
        std::int32_t* room[2] = {scratch(2 * each), nullptr};
        room[1] = room[0] + each;
        const bool in_order = op.targets[0].buffer == gate.source;
        by_parts(w, rows_, most, [&](Span rows, Span panels, bool again) {
            const std::int64_t n0 = panels.begin * 16, width = panels.size() * 16;
            std::int32_t* results[2];
            for (int k = 0; k < 2; k++) {
                const LinearTarget& target = at(op.targets, k);
                results[k] = room[k] + own;
                const Output out{kNarrow, results[k], nullptr, false, width, bias(target), -rows.begin * width - n0};
                m_.kernel->matmul(at(m_.weights, target.weight)->matrix, a, rows.begin, rows.end, panels.begin,
                                  panels.end, out, room[k], again);
            }
            mark(Stopwatch::kProduct);
            enter(i);
            const std::int64_t count = std::min(panels.end * 16, w.rows) - n0;
            for (std::int64_t m = rows.begin; m < rows.end; m++)
                m_.kernel->gate(results[!in_order] + (m - rows.begin) * width,
                                results[in_order] + (m - rows.begin) * width, count, gate.gelu,
                                wide(gate.target, m) + n0);
            mark(Stopwatch::kRows);
            enter(number(op));
        });
        for (const int buffer : {gate.target, op.targets[0].buffer, op.targets[1].buffer})
            at(fraction_, buffer) = usual(buffer);
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

    void gate(const Op& op) {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            m_.kernel->gate(narrow(op.source, m), narrow(op.second, m), spec(op.source).width, op.gelu,
                            wide(op.target, m));
    }

    void logits(const Op& op) {
        const Activations a = quantize(number(op), op, s_.wanted_count, {{-1, op.weight, -1, false}},
                                       [&](std::int64_t i) { return rows_ < s_.rows ? i : s_.wanted[i]; });
        if (thread_ == 0) m_.head.codes = a;
        const std::int64_t outputs = at(m_.weights, op.weight)->matrix.rows;
        multiply(op.weight, a, s_.wanted_count, {kNarrow, s_.logits, nullptr, false, outputs, nullptr});
    }

    // All threads come to the step's shared works in the same order.
    Share next() { return {&at(s_.shares, shared_++ * threads_), threads_}; }

    std::size_t number(const Op& op) const { return static_cast<std::size_t>(&op - m_.ops.data()); }

    void keep_minima(Activations& a, int weight) const {
        const Matrix& w = at(m_.weights, weight)->matrix;
        if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
    }

    // What this thread takes of a product.
    void multiply(int weight, const Activations& a, std::int64_t rows, const Output& out) {
        const Matrix& w = at(m_.weights, weight)->matrix;
        std::int32_t* room = scratch(matmul_scratch(w.blocks, m_.kernel->row_bytes));
        by_parts(w, rows, w.rows, [&](Span some, Span panels, bool again) {
            m_.kernel->matmul(w, a, some.begin, some.end, panels.begin, panels.end, out, room, again);
        });
    }

    // Calls f(rows, panels, again) for what this thread takes of a product: rows that are packed together, by at most
    // so many panels. again: these rows are still packed.
    template <class F> void by_parts(const Matrix& w, std::int64_t rows, std::int64_t most, F f) {
        constexpr std::int64_t kWorth = 1 << 17;  // products of numbers: about a microsecond
        constexpr std::int64_t kSmall = 1 << 20;  // bytes of codes that come from a near cache
        // Rows of a thread's own for which it had better read all weights itself.
        const std::int64_t own = w.rows * w.blocks * 4 * w.bits <= kSmall ? 32 : 64;
        if (rows == 0) return;
        const std::int64_t most_rows = row_block(w.blocks, m_.kernel->row_bytes), panels = (w.rows + 15) / 16;
        std::int64_t blocks = (rows + most_rows - 1) / most_rows;
        if (rows >= own * threads_) blocks = (blocks + threads_ - 1) / threads_ * threads_;
        const std::int64_t height = std::min(((rows + blocks - 1) / blocks + 15) / 16 * 16, most_rows);
        const std::int64_t pair = 2 * 16 * 32 * w.blocks * std::min(rows, height);  // of panels
        std::int64_t last = -1;
        share(next(), (rows + height - 1) / height * panels, 2 * ((kWorth + pair - 1) / pair), [&](Span piece) {
            while (piece.size() > 0) {
                const std::int64_t block = piece.begin / panels, before = block * panels, n = piece.begin - before;
                const Span some{n, std::min({piece.end - before, n + most, panels})};
                f(Span{block * height, std::min((block + 1) * height, rows)}, some, block == last);
                last = block;
                piece.begin = before + some.end;
            }
        });
    }

    int shared_ = 0;             // works so far
    std::vector<int> fraction_;  // of each buffer, as of the operation at hand
};

}  // namespace

void run_int8(Model& model, Step& step, int thread) { Int8Run(model, step, thread).run(); }

}  // namespace intact
