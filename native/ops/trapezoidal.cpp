// The trapezoidal scan of Mamba-3 (docs/spec/numerics.md, section 8).
#include <algorithm>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/scan_run.h"
#include "runtime/trapezoidal_block.h"

namespace intact {
namespace {

struct Trapezoidal final : ScanOperation {
    Trapezoidal() : ScanOperation("trapezoidal") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;

    template <class T> static void scan(const Run& run, const Op& op);
} const trapezoidal;

void Trapezoidal::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second, op.third, op.fourth});
    const ScanForm& form = op.scan;
    const auto narrow = [&](int i, std::int64_t width) { return is_narrow(model, i, width); };
    const auto holds = [&](int i, std::int64_t count) { return has_numbers(model, i, count); };
    if (form.selective || form.delta || form.tiled || form.heads < 1 || form.width < 1 || form.groups < 1 ||
        form.heads % form.groups || form.states < 1 || form.states > kMostScanStates || form.angles < 1 ||
        2 * form.angles > form.states)
        throw std::invalid_argument(
            "a trapezoidal scan has heads in groups of one size, 2 to 256 columns of a state and an angle for at most "
            "each pair of them");
    if (!narrow(op.source, form.inner()) || !narrow(op.second, form.columns()) || !narrow(op.third, form.columns()) ||
        !narrow(op.fourth, 3 * form.heads + form.angles) || !narrow(op.target, form.inner()))
        throw std::invalid_argument(
            "a trapezoidal scan reads x, B, C and what leads each position, and writes a row of x's width, all narrow");
    if (!holds(form.step_bias, form.heads) || !holds(form.skip, form.heads) ||
        !holds(form.b_bias, form.heads * form.states) || !holds(form.c_bias, form.heads * form.states) ||
        form.slowest < 0 || form.slowest >= std::int64_t{1} << 30)
        throw std::invalid_argument("a trapezoidal scan has a bias of dt, biases of B and C, and D for each head");
    check_scan_place(model, op);
}

void Trapezoidal::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.second, op.third, op.fourth});
    follower.all();
}

// Caches x, B, C and the controls of this thread's rows, as int32 or floats; then advances its heads over the
// positions.
template <class T> void Trapezoidal::scan(const Run& run, const Op& op) {
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        T* to = reinterpret_cast<T*>(run.kept_row(op, m, at(run.step.position, m)).values);
        for (const int part : {op.source, op.second, op.third, op.fourth})
            to = std::copy_n(run.row<T>(part, m), run.spec(part).width, to);
    }
    run.meet(Stopwatch::kRows);
    const ScanForm& form = op.scan;
    const auto numbers = [&](int i) { return at(run.model.biases, i).data(); };
    const auto floats = [&](int i) { return at(run.model.float_biases, i).data(); };
    run_positions<T>(run, op,
                     TrapezoidalBlock(form, {numbers(form.step_bias), numbers(form.b_bias), numbers(form.c_bias),
                                             numbers(form.skip), floats(form.b_bias), floats(form.c_bias),
                                             floats(form.skip), run.model.kernel, run.model.float_kernel}));
}

void Trapezoidal::run(Int8Run& run, const Op& op) const {
    scan<std::int32_t>(run, op);
    end(run, op);
}

void Trapezoidal::run(Fp32Run& run, const Op& op) const {
    scan<float>(run, op);
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
