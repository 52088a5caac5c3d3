// Rotary embeddings: rotates pairs of columns of each head in place, by angles that depend on the position.
#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Rope final : Operation {
    Rope() : Operation("rope") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    bool reads_places() const override { return true; }
} const rope;

void Rope::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source});
    check_index(op.weight, model.rotations.size(), "rotation");
}

void Rope::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand_angles(plan, op.weight);
    follower.share(plan, op.heads, {}, op.source);
}

void Rope::run(Int8Run& run, const Op& op) const {
    const auto half = static_cast<std::int64_t>(at(run.model.rotations, op.weight).turns.size());
    run.by_heads(op.heads, [&](std::int64_t m, std::int64_t h) {
        run.kernel.rotate(run.narrow(op.source, m) + h * op.width, &at(at(run.step.sine, op.weight), m * half),
                          &at(at(run.step.cosine, op.weight), m * half), half, op.interleaved);
    });
}

void Rope::run(Fp32Run& run, const Op& op) const {
    const auto half = static_cast<std::int64_t>(at(run.model.rotations, op.weight).turns.size());
    const std::int64_t from = run.mine.begin * half;
    run.kernel.rope(run.data(op.source, run.mine.begin), run.mine.size(), run.spec(op.source).width, op.heads, op.width,
                    at(run.step.float_cosine, op.weight).data() + from,
                    at(run.step.float_sine, op.weight).data() + from, half, op.interleaved);
}

}  // namespace
}  // namespace intact
