// The state-space layer of Mamba-2 after its convolution (docs/spec/numerics.md, section 8).
#include <algorithm>

#include "runtime/check.h"
#include "runtime/scan_run.h"

namespace intact {
namespace {

struct Scan final : ConvolvedScan {
    Scan() : ConvolvedScan("scan") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const scan;

void Scan::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second});
    check_convolved_scan(model, op, /*delta=*/false);
}

void Scan::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.second});
    follower.all();
}

void Scan::run(Int8Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    const std::int64_t inner = form.inner(), columns = form.columns();
    convolve_rows(run, op, at(run.model.biases, form.bias).data(),
                  [&](ScanRow row, const std::int32_t* mixed, std::int64_t m) {
                      row.exponents[1] = row_codes(mixed, inner, row.mixed);
                      for (const int part : {0, 1}) {
                          const std::int64_t from = inner + part * columns;
                          row.exponents[2 + part] = row_codes(mixed + from, columns, row.mixed + from);
                      }
                      keep_steps(run, op, row, m);
                  });
    run_blocks<std::int32_t>(
        run, op, ScanBlock(form, at(run.model.biases, form.rate).data(), at(run.model.biases, form.skip).data()));
    end(run, op);
}

void Scan::run(Fp32Run& run, const Op& op) const {
    const ScanForm& form = op.scan;
    convolve_rows(
        run, op, at(run.model.float_biases, form.bias).data(), [](const ScanRow& row) { return row.float_mixed; },
        [](const ScanRow&, std::int64_t) {});
    run_blocks<float>(
        run, op, ScanBlock(form, at(run.model.biases, form.rate).data(), at(run.model.float_biases, form.skip).data()));
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
