// HGRN's gated recurrence (docs/spec/numerics.md, section 8).
#include <algorithm>
#include <bit>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/fixed.h"
#include "runtime/recurrence_block.h"
#include "runtime/scan_run.h"

namespace intact {
namespace {

struct Recurrence final : ScanOperation {
    Recurrence() : ScanOperation("recurrence") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const recurrence;

void Recurrence::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second});
    const ScanForm& form = op.scan;
    for (const int i : {op.source, op.second, op.target})
        if (!is_narrow(model, i, form.heads))
            throw std::invalid_argument(
                "a recurrence leads from a number and a forget gate of each channel, all narrow");
    if (!form.selective || form.delta || form.angles || form.heads < 1 || form.width != 1 || form.groups != 0 ||
        form.states != 2)
        throw std::invalid_argument("a recurrence has channels of one state of 64 bits");
    if (!has_numbers(model, form.rate, form.heads))
        throw std::invalid_argument("a recurrence has a number for each channel that its bound leaves");
    for (const std::int64_t room : at(model.biases, form.rate))
        if (room < 0 || room > std::int64_t{1} << 30)
            throw std::invalid_argument("what a bound leaves lies in 0 to 2^30");
    check_scan_place(model, op);
}

void Recurrence::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.second});
    follower.all();
}

// Caches SiLU of this thread's rows and the share by which a state moves towards it; then advances the states of its
// channels over the positions.
void Recurrence::run(Int8Run& run, const Op& op) const {
    const std::int64_t n = op.scan.heads;
    const std::int64_t* const room = at(run.model.biases, op.scan.rate).data();
    const auto rounded = [](std::int64_t x) { return (x + (std::int64_t{1} << 29)) >> 30; };
    std::vector<std::int32_t> sigmoid(static_cast<std::size_t>(n));
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const ScanRow row = run.kept_row(op, m, at(run.step.position, m));
        const std::int32_t* const x = run.narrow(op.source, m);
        run.kernel.sigmoid(x, n, sigmoid.data());
        for (std::int64_t i = 0; i < n; i++)
            row.values[i] = static_cast<std::int32_t>(rounded(std::int64_t{x[i]} * at(sigmoid, i)));
        run.kernel.sigmoid(run.narrow(op.second, m), n, sigmoid.data());
        for (std::int64_t i = 0; i < n; i++)
            row.steps[i] = static_cast<std::uint32_t>(rounded(room[i] * (kOne30 - at(sigmoid, i))));
    }
    run.meet(Stopwatch::kRows);
    run_positions<std::int32_t>(run, op, RecurrenceBlock());
    end(run, op);
}

// Caches SiLU of this thread's rows and the share by which a state moves towards it, as floats; then advances the
// states of its channels over the positions.
void Recurrence::run(Fp32Run& run, const Op& op) const {
    const std::int64_t n = op.scan.heads;
    const float* const room = at(run.model.float_biases, op.scan.rate).data();
    const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
    run.sums.resize(static_cast<std::size_t>(n));
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const ScanRow row = run.kept_row(op, m, at(run.step.position, m));
        run.kernel.gate(GateKind::kSilu, run.data(op.source, m), ones.data(), row.float_values, n);
        std::transform(run.data(op.second, m), run.data(op.second, m) + n, run.sums.data(), [](float x) { return -x; });
        run.kernel.sigmoid(run.sums.data(), run.sums.data(), n);
        run.kernel.multiply(room, run.sums.data(), run.sums.data(), n);
        std::transform(run.sums.begin(), run.sums.end(), row.steps,
                       [](float x) { return std::bit_cast<std::uint32_t>(x); });
    }
    run.meet(Stopwatch::kRows);
    run_positions<float>(run, op, RecurrenceBlock());
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
