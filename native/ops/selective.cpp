// Mamba's selective scan (docs/spec/numerics.md, section 8).
#include <algorithm>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/scan_run.h"
#include "runtime/selective_block.h"

namespace intact {
namespace {

struct Selective final : ScanOperation {
    Selective() : ScanOperation("selective") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const selective;

void Selective::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second, op.third, op.fourth});
    const ScanForm& form = op.scan;
    const auto narrow = [&](int i, std::int64_t width) { return is_narrow(model, i, width); };
    if (!form.selective || form.delta || form.angles || form.heads < 1 || form.width != 1 || form.groups != 1 ||
        form.states < 1 || form.states > kMostScanStates)
        throw std::invalid_argument("a selective scan has channels of 1 to 256 states");
    if (!narrow(op.source, form.heads) || !narrow(op.second, form.heads) || !narrow(op.third, form.states) ||
        !narrow(op.fourth, form.states) || !narrow(op.target, form.heads) || op.target == op.second)
        throw std::invalid_argument(
            "a selective scan reads x, steps, B and C, and writes a row of x's width, all narrow");
    if (!has_numbers(model, form.rate, form.heads * form.states) || !has_numbers(model, form.skip, form.heads))
        throw std::invalid_argument("a selective scan has a rate for each state, and D for each channel");
    check_rates(model, form);
    check_scan_place(model, op);
}

void Selective::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.third, op.fourth});
    follower.demand(plan, kAll, {op.second});
    follower.all();
}

// Caches x, B and C of this thread's rows; then the steps of its channels, whose states it advances over the positions.
void Selective::run(Int8Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const ScanRow row = run.kept_row(op, m, at(run.step.position, m));
        std::copy_n(run.narrow(op.source, m), form.inner(), row.values);
        row.exponents[2] = row_codes(run.narrow(op.third, m), form.states, row.mixed);
        row.exponents[3] = row_codes(run.narrow(op.fourth, m), form.states, row.mixed + form.states);
    }
    const Span channels = run.part(form.heads);
    for (std::int64_t m = 0; m < run.step.rows; m++) {
        std::uint32_t* const steps = run.kept_row(op, m, at(run.step.position, m)).steps;
        for (std::int64_t c = channels.begin; c < channels.end; c++) steps[c] = softplus(run.narrow(op.second, m)[c]);
    }
    run.meet(Stopwatch::kRows);
    run_positions<std::int32_t>(
        run, op,
        SelectiveBlock(form, at(run.model.biases, form.rate).data(), at(run.model.biases, form.skip).data(), nullptr));
    end(run, op);
}

void Selective::run(Fp32Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const ScanRow row = run.kept_row(op, m, at(run.step.position, m));
        std::copy_n(run.data(op.source, m), form.inner(), row.float_values);
        std::copy_n(run.data(op.third, m), form.states, row.float_mixed);
        std::copy_n(run.data(op.fourth, m), form.states, row.float_mixed + form.states);
    }
    run.meet(Stopwatch::kRows);  // steps of all rows are there
    const Span channels = run.part(form.heads);
    for (std::int64_t m = 0; m < run.step.rows; m++) {
        std::uint32_t* const steps = run.kept_row(op, m, at(run.step.position, m)).steps;
        for (std::int64_t c = channels.begin; c < channels.end; c++)
            steps[c] = softplus(to_fixed<16>(run.data(op.second, m)[c]));
    }
    run_positions<float>(run, op,
                         SelectiveBlock(form, at(run.model.biases, form.rate).data(), nullptr,
                                        at(run.model.float_biases, form.skip).data()));
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
