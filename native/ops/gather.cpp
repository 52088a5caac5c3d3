// Copies columns of rows to other rows, by an index.
#include <iterator>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Gather final : Operation {
    Gather() : Operation("gather") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;

    // Copies columns of this thread's rows.
    template <class T> static void copy(const Run& run, const Op& op);
} const gather;

void Gather::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (op.source == op.target || from.wide != to.wide || std::ssize(op.index) != to.width)
        throw std::invalid_argument("a gather goes to another buffer of its source's kind, which its index fills");
    for (const std::int32_t column : op.index)
        if (column < -1 || column >= from.width)
            throw std::invalid_argument("a gather's index names no column of its source");
}

void Gather::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.share(plan, kRows, {op.source}, op.target);
}

template <class T> void Gather::copy(const Run& run, const Op& op) {
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const T* from = run.row<T>(op.source, m);
        T* to = run.row<T>(op.target, m);
        for (const std::int32_t column : op.index) {
            if (column >= 0)
                *to = from[column];
            else if (!op.accumulate)
                *to = T{0};
            to++;
        }
    }
}

void Gather::run(Int8Run& run, const Op& op) const {
    if (run.spec(op.source).wide)
        copy<std::int64_t>(run, op);
    else
        copy<std::int32_t>(run, op);
    at(run.fraction, op.target) = at(run.fraction, op.source);
}

void Gather::run(Fp32Run& run, const Op& op) const { copy<float>(run, op); }

}  // namespace
}  // namespace intact
