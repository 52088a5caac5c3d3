// Exchanges columns of rows with other ranks.
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct AllGather final : Operation {
    AllGather() : Operation("all_gather") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override;

    // Thread 0 exchanges columns of all rows with the other ranks, while the threads wait.
    static void exchange(const Run& run, const Op& op);
} const all_gather;

void AllGather::check(const Model& model, const Op& op) const {
    if (op.source != -1) check_buffers(model, {op.source});
    check_buffers(model, {op.target});
    if (!model.exchange) throw std::invalid_argument("columns are exchanged with other ranks, and there are none");
    if (op.source == -1) return;
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (op.source == op.target || from.wide != to.wide || from.width > to.width)
        throw std::invalid_argument("an exchange goes to another buffer of its source's kind that is no narrower");
}

void AllGather::enter(Model& model, const Op&) const { model.exchanges.push_back(model.ops.size()); }

void AllGather::follow(Follower& follower, const Op&, Plan&) const { follower.all(); }  // they wait before and behind

void AllGather::exchange(const Run& run, const Op& op) {
    run.meet(Stopwatch::kRows);
    if (run.thread == 0 && run.rows > 0) run.model.exchange(run.number(op), run.rows);
    run.meet(Stopwatch::kRows);
}

void AllGather::run(Int8Run& run, const Op& op) const {
    exchange(run, op);
    at(run.fraction, op.target) = run.usual(op.target);
}

void AllGather::run(Fp32Run& run, const Op& op) const { exchange(run, op); }

}  // namespace
}  // namespace intact
