// Matrix products of rows, to one or several buffers, with an optional fused norm before and gate after the product.
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/exact.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Linear final : Operation {
    Linear() : Operation("linear") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void make_room(Model& model, Step& step, const Op& op) const override { make_input_room(model, step, op); }
    std::size_t shares(const Op& op) const override { return op.targets.size(); }
    WeightUse weights(const Op& op) const override;
    bool writes(const Op& op, int buffer) const override;
    bool reads(const Op& op, int buffer) const override;
    bool takes_norm() const override { return true; }
    bool takes_gate(const Model& model, const Op& op, const Op& gate) const override;

    static void exact(Int8Run& run, const Op& op);
    static void multiply(Int8Run& run, const LinearTarget& target, const Activations& a);
    static void gated(Int8Run& run, const Op& op, const Activations& a, std::size_t i);
} const linear;

void Linear::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source});
    if (op.scale.mantissa) {
        const bool fits = op.scale.mantissa >= 1 && op.scale.mantissa <= 8191 && std::abs(op.scale.exponent) <= 100;
        if (!fits || model.scheme)
            throw std::invalid_argument("a product's rows have a fixed scale from 1 to 8191, and no other scheme");
    }
    const std::int64_t width = buffer_of(model, op.source).width;
    if (op.outliers) {
        const bool alone = model.scheme && model.scheme->whole_row && !op.keep;
        if (!alone || op.outliers < 0 || op.outliers > width || width % 32 || 96 * op.outliers >= width)
            throw std::invalid_argument(
                "outliers are whole blocks, thrice at the end of all rows of a product that have one scale");
    }
    if (op.keep) {
        if (op.keep < 1 || op.keep > width) throw std::invalid_argument("a product keeps one to all of its inputs");
        if (!op.norms.empty() && std::ssize(op.norms) != width)
            throw std::invalid_argument("norms are as many as a product's inputs");
        for (const std::int32_t norm : op.norms)
            if (norm < 0 || norm > 32767) throw std::invalid_argument("norms lie in 0 to 32767");
    }
    check_targets(model, op);
}

WeightUse Linear::weights(const Op& op) const {
    WeightUse use;
    for (const LinearTarget& target : op.targets) use.all.push_back(target.weight);
    return use;
}

bool Linear::writes(const Op& op, int buffer) const {
    return std::any_of(op.targets.begin(), op.targets.end(),
                       [&](const LinearTarget& t) { return t.buffer == buffer && !t.accumulate; });
}

bool Linear::reads(const Op& op, int buffer) const {
    return op.source == buffer || std::any_of(op.targets.begin(), op.targets.end(), [&](const LinearTarget& t) {
               return t.buffer == buffer && t.accumulate;
           });
}

// A gate of its two results can be fused, output by output.
bool Linear::takes_gate(const Model& model, const Op& op, const Op& gate) const {
    if (op.targets.size() != 2 || has_wide_codes(model.scheme)) return false;  // products of wide codes stand alone
    const LinearTarget &first = op.targets[0], &second = op.targets[1];
    const bool both = (first.buffer == gate.source && second.buffer == gate.second) ||
                      (first.buffer == gate.second && second.buffer == gate.source);
    const bool alike = at(model.weights, first.weight)->matrix.rows == at(model.weights, second.weight)->matrix.rows;
    return both && alike && !first.accumulate && !second.accumulate && gate.target != op.source;
}

void Linear::follow(Follower& follower, const Op& op, Plan& plan) const {
    const int from = follower.source(op, plan);
    follower.demand(plan, kRows, {from});
    // A thread that does not wait for the others may write while they are still reading.
    const auto unused = [&](int buffer) { return buffer != from && follower.is_idle(buffer); };
    plan.whole = follower.is_complete(from);
    for (const LinearTarget& target : op.targets) plan.whole = plan.whole && unused(target.buffer);
    if (plan.gate >= 0) plan.whole = plan.whole && unused(at(follower.model.ops, plan.gate).target);
    follower.all();
}

void Linear::run(Int8Run& run, const Op& op) const {
    if (has_wide_codes(run.model.scheme)) return exact(run, op);
    const Activations a = run.quantize({op, run.rows, op.targets});
    const int gate = run.plan(op).gate;
    if (gate >= 0) {
        gated(run, op, a, static_cast<std::size_t>(gate));
    } else {
        for (const LinearTarget& target : op.targets) multiply(run, target, a);
    }
    run.meet(Stopwatch::kProduct);
}

// Quantises rows to wide codes and computes products in int64.
void Linear::exact(Int8Run& run, const Op& op) {
    const std::int64_t width = run.spec(op.source).width, ints = WideRow::ints(width);
    auto* rows = reinterpret_cast<std::int32_t*>(run.model.wide_rows.data());
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const auto [x, fraction] = run.source_row(op, m);
        quantize_wide_codes(x, width, fraction, *run.model.scheme, rows + m * ints);
    }
    run.meet(Stopwatch::kRows);
    for (const LinearTarget& target : op.targets) {
        const MatrixWeight& w = *at(run.model.weights, target.weight);
        const BufferSpec& to = run.spec(target.buffer);
        const std::int64_t* added = run.bias(target);
        ExactOutput output(w.packed, *run.model.scheme);
        const Span mine = run.part(w.packed.rows);
        for (std::int64_t n = mine.begin; n < mine.end; n++) {
            output.read(n);
            for (std::int64_t m = 0; m < run.rows; m++) {
                const std::int64_t y = output.times(rows + m * ints, run.usual(target.buffer)) + (added ? added[n] : 0);
                if (to.wide)
                    run.wide(target.buffer, m)[n] = y + (target.accumulate ? run.wide(target.buffer, m)[n] : 0);
                else
                    run.narrow(target.buffer, m)[n] =
                        static_cast<std::int32_t>(std::clamp<std::int64_t>(y, -INT32_MAX, INT32_MAX));
            }
        }
        at(run.fraction, target.buffer) = run.usual(target.buffer);
    }
    run.meet(Stopwatch::kProduct);
}

void Linear::multiply(Int8Run& run, const LinearTarget& target, const Activations& a) {
    const BufferSpec& to = run.spec(target.buffer);
    Output out{kNarrow, nullptr, nullptr, target.accumulate, to.width, run.bias(target)};
    if (to.wide) {
        out.fraction = kWide;
        out.wide = run.wide(target.buffer, 0);
    } else {
        out.narrow = run.narrow(target.buffer, 0);
    }
    run.multiply(target.weight, a, run.rows, out);
    at(run.fraction, target.buffer) = run.usual(target.buffer);
}

// A product with a fused gate of its two results: processes some rows and outputs at a time, so that they stay in the
// second-level cache; with few rows, as many outputs as fit the same space.
void Linear::gated(Int8Run& run, const Op& op, const Activations& a, std::size_t i) {
    const Op& gate = run.model.ops[i];
    const Matrix& w = at(run.model.weights, op.targets[0].weight)->matrix;
    const bool in_order = op.targets[0].buffer == gate.source;
    run.by_parts(w, run.rows, run.most_panels(w, run.rows), [&](Span rows, Span panels, bool again) {
        const std::int64_t n0 = panels.begin * 16, width = panels.size() * 16;
        const auto results = run.both(op.targets.data(), a, rows, panels, again);
        run.mark(Stopwatch::kProduct);
        run.enter(i);
        const std::int64_t count = std::min(panels.end * 16, w.rows) - n0;
        for (std::int64_t m = rows.begin; m < rows.end; m++)
            run.kernel.gate(results[!in_order] + (m - rows.begin) * width, results[in_order] + (m - rows.begin) * width,
                            count, gate.gate, run.wide(gate.target, m) + n0);
        run.mark(Stopwatch::kRows);
        run.enter(run.number(op));
    });
    for (const int buffer : {gate.target, op.targets[0].buffer, op.targets[1].buffer})
        at(run.fraction, buffer) = run.usual(buffer);
}

void Linear::run(Fp32Run& run, const Op& op) const {
    run.meet(Stopwatch::kRows);
    for (const LinearTarget& target : op.targets) {
        FloatWeight w = at(run.model.weights, target.weight)->floats;
        w.bias = target.bias < 0 ? nullptr : at(run.model.float_biases, target.bias).data();
        const Span outputs = run.part(w.rows);
        const std::int64_t width = run.spec(op.source).width;
        if (!target.accumulate) {
            run.kernel.linear(w, run.data(op.source, 0), run.step.rows, width, run.data(target.buffer, 0), w.rows,
                              outputs.begin, outputs.end);
            continue;
        }
        run.sums.resize(static_cast<std::size_t>(run.step.rows * w.rows));
        run.kernel.linear(w, run.data(op.source, 0), run.step.rows, width, run.sums.data(), w.rows, outputs.begin,
                          outputs.end);
        for (std::int64_t m = 0; m < run.step.rows; m++) {
            float* to = run.data(target.buffer, m) + outputs.begin;
            run.kernel.add(to, run.sums.data() + m * w.rows + outputs.begin, to, outputs.size());
        }
    }
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
