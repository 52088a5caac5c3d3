// Gated rows: f(gate) * up, or just f(gate).
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Gate final : Operation {
    Gate() : Operation("gate") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const override;
} const gate;

void Gate::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    if (op.second != -1) check_buffers(model, {op.second});
}

// Fuses a gate with the preceding product if nothing else reads the product's results.
void Gate::fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const {
    const Op& op = model.ops[i];
    if (i == 0 || !model.ops[i - 1].kind->takes_gate(model, model.ops[i - 1], op)) return;
    if (!ends_at(model.ops, i, op.source) || !ends_at(model.ops, i, op.second)) return;
    plan[i].skip = true;
    plan[i - 1].gate = static_cast<int>(i);
}

void Gate::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.share(plan, kRows, {op.source, op.second < 0 ? op.source : op.second}, op.target);
}

void Gate::run(Int8Run& run, const Op& op) const {
    const std::size_t width = op.second < 0 ? static_cast<std::size_t>(run.spec(op.source).width) : 0;
    const std::vector<std::int32_t> ones(width, 1 << kNarrow);
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        run.kernel.gate(run.narrow(op.source, m), op.second < 0 ? ones.data() : run.narrow(op.second, m),
                        run.spec(op.source).width, op.gate, run.wide(op.target, m));
}

void Gate::run(Fp32Run& run, const Op& op) const {
    const std::int64_t n = run.mine.size() * run.spec(op.source).width;
    if (op.second < 0) run.sums.assign(static_cast<std::size_t>(n), 1.0f);
    run.kernel.gate(op.gate, run.data(op.source, run.mine.begin),
                    op.second < 0 ? run.sums.data() : run.data(op.second, run.mine.begin),
                    run.data(op.target, run.mine.begin), n);
}

}  // namespace
}  // namespace intact
