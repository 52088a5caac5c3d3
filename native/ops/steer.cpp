// Adds an adapter's vector to the rows of sequences that use it.
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Steer final : Operation {
    Steer() : Operation("steer") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override;
    bool writes(const Op&, int) const override { return false; }  // it adds
    bool reads(const Op& op, int buffer) const override { return op.target == buffer; }

    // The index among the biases of the vector to add to row m, or -1.
    static int vector_of(const Run& run, const Op& op, std::int64_t m) {
        return run.adapter(m) < 0 ? -1 : at(op.targets, run.adapter(m)).bias;
    }
} const steer;

void Steer::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.target});
    const BufferSpec& to = buffer_of(model, op.target);
    for (const LinearTarget& target : op.targets)
        if (target.bias != -1 && (!to.wide || !has_numbers(model, target.bias, to.width)))
            throw std::invalid_argument("an adapter's vector is a row of a wide buffer");
}

void Steer::enter(Model& model, const Op& op) const {
    const std::int64_t count = std::ssize(op.targets);
    model.adapters = std::min(model.adapters.value_or(count), count);
}

void Steer::follow(Follower& follower, const Op& op, Plan& plan) const { follower.share(plan, kRows, {}, op.target); }

void Steer::run(Int8Run& run, const Op& op) const {
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        if (const int added = vector_of(run, op, m); added >= 0)
            run.add_row(op.target, m, at(run.model.biases, added).data());
}

void Steer::run(Fp32Run& run, const Op& op) const {
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        if (const int added = vector_of(run, op, m); added >= 0)
            run.kernel.add(run.data(op.target, m), at(run.model.float_biases, added).data(), run.data(op.target, m),
                           run.spec(op.target).width);
}

}  // namespace
}  // namespace intact
