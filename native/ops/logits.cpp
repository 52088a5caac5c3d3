// Logits of the wanted rows: the product with the head, with an optional soft cap.
#include <cstring>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Logits final : Operation {
    Logits() : Operation("logits") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override;
    void make_room(Model& model, Step& step, const Op& op) const override;
    WeightUse weights(const Op& op) const override;
    bool takes_norm() const override { return true; }
} const logits;

void Logits::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source});
    if (op.weight != -1) check_index(op.weight, model.weights.size(), "weight");
    check_all_inputs(op);
}

void Logits::enter(Model& model, const Op& op) const {
    model.outputs = op.weight < 0 ? 0 : model.matrix_rows(op.weight);
    model.head.width = at(model.buffers, op.source).width;
}

void Logits::make_room(Model& model, Step& step, const Op& op) const {
    make_input_room(model, step, op);
    if (model.profile == Profile::kFp32)
        model.head.floats.resize(static_cast<std::size_t>(step.wanted_count * model.head.width));
}

WeightUse Logits::weights(const Op& op) const {
    WeightUse use;
    if (op.weight >= 0) use.all = {op.weight};
    use.is_head = true;
    return use;
}

void Logits::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kAll, {follower.source(op, plan)});
    plan.whole = true;
}

void Logits::run(Int8Run& run, const Op& op) const {
    // After the last operation that reads other rows, the wanted rows have been moved to the front.
    const std::int64_t* const rows = run.rows < run.step.rows ? nullptr : run.step.wanted;
    const Activations a =
        run.quantize({op, run.step.wanted_count, {{-1, op.weight, -1, false}}, rows, /*by_scheme=*/false});
    if (run.thread == 0) run.model.head.codes = a;
    if (op.weight < 0) return;
    const std::int64_t outputs = at(run.model.weights, op.weight)->matrix.rows;
    run.multiply(op.weight, a, run.step.wanted_count, {kNarrow, run.step.logits, nullptr, false, outputs, nullptr});
    if (op.cap.slope) {
        run.meet(Stopwatch::kProduct);
        const Span mine = run.part(run.step.wanted_count * outputs);
        run.kernel.soft_cap(run.step.logits + mine.begin, mine.size(), op.cap);
    }
    run.mark(Stopwatch::kProduct);
}

void Logits::run(Fp32Run& run, const Op& op) const {
    run.meet(Stopwatch::kRows);
    const std::int64_t n = run.spec(op.source).width;
    const Span wanted = run.part(run.step.wanted_count);
    for (std::int64_t i = wanted.begin; i < wanted.end; i++)
        std::memcpy(&at(run.model.head.floats, i * n), run.data(op.source, run.step.wanted[i]),
                    static_cast<std::size_t>(n) * sizeof(float));
    run.meet(Stopwatch::kRows);
    if (op.weight < 0) return;
    const FloatWeight& w = at(run.model.weights, op.weight)->floats;
    const Span outputs = run.part(w.rows);
    auto* logits = reinterpret_cast<float*>(run.step.logits);
    run.kernel.linear(w, run.model.head.floats.data(), run.step.wanted_count, n, logits, w.rows, outputs.begin,
                      outputs.end);
    for (std::int64_t i = 0; op.float_cap != 0 && i < run.step.wanted_count; i++) {
        float* y = logits + i * w.rows + outputs.begin;
        run.kernel.soft_cap(y, op.float_cap, y, outputs.size());
    }
    run.mark(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
