// Norms of rows or of their heads: RMS norms, also of groups of columns, and layer norms.
#include <algorithm>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Norm final : Operation {
    Norm() : Operation("norm") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void make_room(Model& model, Step& step, const Op& op) const override;
    void fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const override;

    static void run_centered(Int8Run& run, const Op& op);
} const norm;

void Norm::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    check_index(op.weight, model.gains.size(), "gain");
    if (op.centered && op.heads) throw std::invalid_argument("layer norms are of whole rows");
    if (op.groups == 1) return;
    if (op.groups < 1 || buffer_of(model, op.source).width % op.groups || op.heads || op.centered)
        throw std::invalid_argument("groups of a norm are RMS norms of runs of one size of a whole row");
}

void Norm::make_room(Model& model, Step&, const Op& op) const {
    if (model.profile == Profile::kFp32 || !op.centered) return;
    for (Own& o : model.own) ensure(o.wide, 2 * at(model.buffers, op.source).width * 8);
}

// Fuses a norm of whole rows with the following product if nothing else reads its result.
void Norm::fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const {
    if (i + 1 == model.ops.size()) return;
    const Op &op = model.ops[i], &next = model.ops[i + 1];
    if (op.heads != 0 || op.centered || at(model.buffers, op.target).wide) return;
    if (!next.kind->takes_norm() || next.source != op.target || !ends_at(model.ops, i + 1, op.target)) return;
    plan[i].skip = true;
    plan[i + 1].norm = static_cast<int>(i);
}

void Norm::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.share(plan, op.heads ? op.heads : kRows, {op.source}, op.target);
}

void Norm::run(Int8Run& run, const Op& op) const {
    if (op.centered) return run_centered(run, op);
    const Gain g = run.gain(op);
    const bool to_wide = run.spec(op.target).wide;
    if (op.heads)
        run.by_heads(op.heads, [&](std::int64_t m, std::int64_t h) {
            run.kernel.norm_narrow(run.narrow(op.source, m) + h * g.n, g, kNarrow, run.narrow(op.target, m) + h * g.n);
        });
    else
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
            run.norm_row(op, run.wide(op.source, m), to_wide ? nullptr : run.narrow(op.target, m),
                         to_wide ? run.wide(op.target, m) : nullptr);
    at(run.fraction, op.target) = op.heads || to_wide ? run.usual(op.target) : 30 - g.exponent;
}

// Layer norm: normalises rows minus their mean, and adds a bias.
void Norm::run_centered(Int8Run& run, const Op& op) {
    constexpr std::int64_t kMost = std::int64_t{1} << 46;
    const Gain g = run.gain(op);
    const std::int64_t* added = op.bias < 0 ? nullptr : at(run.model.biases, op.bias).data();
    const bool to_wide = run.spec(op.target).wide;
    auto* room = reinterpret_cast<std::int64_t*>(at(run.model.own, run.thread).wide.data());
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const std::int64_t* x = run.wide(op.source, m);
        std::transform(x, x + g.n, room, [=](std::int64_t value) { return std::clamp(value, -kMost, kMost); });
        const std::int64_t twice = 2 * std::accumulate(room, room + g.n, std::int64_t{0}) + g.n;
        const std::int64_t mean = twice / (2 * g.n) - (twice % (2 * g.n) < 0);  // rounded half up
        std::for_each(room, room + g.n, [&](std::int64_t& value) { value -= mean; });
        std::int64_t* y = room + g.n;
        run.kernel.norm_wide(room, g, nullptr, y, false);
        for (std::int64_t i = 0; i < g.n; i++) {
            const std::int64_t value = y[i] + (added ? added[i] : 0);
            if (to_wide)
                run.wide(op.target, m)[i] = value + (op.accumulate ? run.wide(op.target, m)[i] : 0);
            else
                run.narrow(op.target, m)[i] =
                    static_cast<std::int32_t>(std::clamp<std::int64_t>((value + 8) >> 4, -INT32_MAX, INT32_MAX));
        }
    }
    at(run.fraction, op.target) = run.usual(op.target);
}

void Norm::run(Fp32Run& run, const Op& op) const {
    const NormGain& gain = at(run.model.gains, op.weight);
    const auto n = std::ssize(gain.values), width = n / op.groups;
    std::vector<float> sum(op.accumulate ? gain.values.size() : 0);
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        float* to = run.data(op.target, m);
        if (op.centered)
            run.kernel.layer_norm(run.data(op.source, m), n, gain.values.data(),
                                  op.bias < 0 ? nullptr : at(run.model.float_biases, op.bias).data(),
                                  gain.float_epsilon, op.accumulate ? sum.data() : to);
        else
            for (std::int64_t begin = 0; begin < n; begin += width)
                run.kernel.rmsnorm(run.data(op.source, m) + begin, 1, width, op.heads ? op.heads : 1, width,
                                   gain.values.data() + begin, gain.float_epsilon,
                                   (op.accumulate ? sum.data() : to) + begin, width);
        if (op.accumulate) run.kernel.add(to, sum.data(), to, n);
    }
}

}  // namespace
}  // namespace intact
