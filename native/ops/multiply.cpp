// Multiplies columns of a wide row by a number.
#include <algorithm>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Multiply final : Operation {
    Multiply() : Operation("multiply") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const multiply;

void Multiply::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (!from.wide || op.first < 0 || op.first > from.width || to.width > from.width - op.first ||
        (op.source == op.target && op.first))
        throw std::invalid_argument("columns of a wide row are multiplied, in place or to another row");
    if (op.multiplier <= -(std::int64_t{1} << 30) || op.multiplier >= std::int64_t{1} << 30)
        throw std::invalid_argument("rows are multiplied by numbers between -64 and 64");
}

void Multiply::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.share(plan, kRows, {op.source}, op.target);
}

// Rows are split into two parts so that no product exceeds 64 bits.
void Multiply::run(Int8Run& run, const Op& op) const {
    constexpr std::int64_t kMost = std::int64_t{1} << 46, kPart = std::int64_t{1} << 24, kHalf = kPart / 2;
    const std::int64_t width = run.spec(op.target).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const std::int64_t* const x = run.wide(op.source, m) + op.first;
        const auto times = [&](std::int64_t i, std::int64_t half) {
            const std::int64_t value = std::clamp(x[i], -kMost, kMost);
            return (value >> 24) * op.multiplier + (((value & (kPart - 1)) * op.multiplier + half) >> 24);
        };
        if (run.spec(op.target).wide)
            for (std::int64_t i = 0; i < width; i++) run.wide(op.target, m)[i] = times(i, kHalf);
        else
            for (std::int64_t i = 0; i < width; i++)
                run.narrow(op.target, m)[i] = static_cast<std::int32_t>(run.saturate(times(i, kHalf << 4) >> 4));
    }
    at(run.fraction, op.target) = run.usual(op.target);
}

void Multiply::run(Fp32Run& run, const Op& op) const {
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const float* const x = run.data(op.source, m) + op.first;
        std::transform(x, x + run.spec(op.target).width, run.data(op.target, m),
                       [&](float v) { return v * op.float_scale; });
    }
}

}  // namespace
}  // namespace intact
