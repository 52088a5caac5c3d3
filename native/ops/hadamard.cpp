// Hadamard transforms of blocks of a row.
#include <algorithm>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Hadamard final : Operation {
    Hadamard() : Operation("hadamard") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const hadamard;

void Hadamard::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (op.source == op.target || !to.wide || from.width != to.width)
        throw std::invalid_argument("a rotation goes to a wide buffer of its source's width");
    if (op.width < 2 || op.width > 256 || (op.width & (op.width - 1)) || from.width % op.width)
        throw std::invalid_argument("a rotation's blocks are a power of two up to 256 that fills its rows");
}

void Hadamard::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.share(plan, kRows, {op.source}, op.target);
}

void Hadamard::run(Int8Run& run, const Op& op) const {
    const std::int64_t width = run.spec(op.source).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        if (run.spec(op.source).wide)
            std::copy_n(run.wide(op.source, m), width, run.wide(op.target, m));
        else
            std::copy_n(run.narrow(op.source, m), width, run.wide(op.target, m));
        run.kernel.hadamard(run.wide(op.target, m), width, op.width);
    }
    at(run.fraction, op.target) = at(run.fraction, op.source);
}

void Hadamard::run(Fp32Run& run, const Op& op) const {
    const std::int64_t n = run.mine.size() * run.spec(op.source).width;
    float* to = run.data(op.target, run.mine.begin);
    std::copy_n(run.data(op.source, run.mine.begin), n, to);
    run.kernel.hadamard(to, n, op.width);
}

}  // namespace
}  // namespace intact
