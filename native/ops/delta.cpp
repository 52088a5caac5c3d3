// The gated delta rule after its convolution (docs/spec/numerics.md, section 8).
#include <algorithm>

#include "runtime/check.h"
#include "runtime/delta_block.h"
#include "runtime/scan_run.h"

namespace intact {
namespace {

struct Delta final : ConvolvedScan {
    Delta() : ConvolvedScan("delta") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const delta;

void Delta::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second, op.third});
    check_convolved_scan(model, op, /*delta=*/true);
}

void Delta::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.second, op.third});
    follower.all();
}

void Delta::run(Int8Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    convolve_rows(run, op, nullptr, [&](ScanRow row, const std::int32_t* mixed, std::int64_t m) {
        for (std::int64_t i = 0; i < form.kept(); i += form.states) unit_codes(mixed + i, form.states, row.mixed + i);
        std::copy_n(mixed + form.kept(), form.inner(), row.values);
        run.kernel.sigmoid(run.narrow(op.third, m), form.heads, row.strengths);
        keep_steps(run, op, row, m);
    });
    run.model.saturated +=
        run_blocks<std::int32_t>(run, op, DeltaBlock(form, at(run.model.biases, form.rate).data(), run.model.kernel))
            .saturated();
    end(run, op);
}

void Delta::run(Fp32Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    std::vector<float> mixed(static_cast<std::size_t>(form.channels()));
    convolve_rows(
        run, op, nullptr, [&](const ScanRow&) { return mixed.data(); },
        [&](const ScanRow& row, std::int64_t m) {
            for (std::int64_t i = 0; i < form.kept(); i += form.states) unit_floats(mixed.data() + i, form.states);
            std::copy_n(mixed.data(), form.kept(), row.float_mixed);
            std::copy_n(mixed.data() + form.kept(), form.inner(), row.float_values);
            run.kernel.sigmoid(run.data(op.third, m), row.float_strengths, form.heads);
        });
    run_blocks<float>(run, op, DeltaBlock(form, at(run.model.biases, form.rate).data(), run.model.kernel));
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
