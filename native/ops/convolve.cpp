// LFM2's gated convolution: the products of its input's first and last third, summed over positions, times the second.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/convolution.h"

namespace intact {
namespace {

struct Convolve final : Convolution {
    Convolve() : Convolution("convolve") {}
    void check(const Model& model, const Op& op) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;

    static void keep_products(const Int8Run& run, const Op& op, std::int64_t m, std::int64_t n);
} const convolve;

void Convolve::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (from.wide || !to.wide || from.width != 3 * to.width)
        throw std::invalid_argument("a convolution goes from a narrow buffer to a wide one of a third of its width");
    check_taps(model, op);
}

// Stores the products of this thread's rows, waits for the other threads, and sums over positions.
void Convolve::run(Int8Run& run, const Op& op) const {
    const std::int64_t n = run.spec(op.target).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) keep_products(run, op, m, n);
    sum_taps(run, op, n, [&](std::int64_t m, const std::vector<std::int64_t>& sum) {
        const std::int32_t* const gate = run.narrow(op.source, m) + n;
        constexpr std::int64_t kHalf = std::int64_t{1} << 19;
        for (std::int64_t i = 0; i < n; i++)
            run.wide(op.target, m)[i] = (run.saturate((at(sum, i) + kHalf) >> 20) * gate[i] + (1 << 11)) >> 12;
    });
    at(run.fraction, op.target) = kWide;
}

// Stores the products of a row's first and last third, as 15 bits and a sign under one exponent.
void Convolve::keep_products(const Int8Run& run, const Op& op, std::int64_t m, std::int64_t n) {
    const std::int32_t *const before = run.narrow(op.source, m), *const x = before + 2 * n;
    const auto product = [&](std::int64_t i) {
        return Run::saturate((std::int64_t{before[i]} * x[i] + (1 << 15)) >> 16);
    };
    std::uint64_t bits = 0;
    for (std::int64_t i = 0; i < n; i++) bits |= static_cast<std::uint64_t>(std::abs(product(i)));
    const int exponent = std::max(0, static_cast<int>(std::bit_width(bits)) - 15);
    const std::int64_t half = (std::int64_t{1} << exponent) >> 1;
    const auto [codes, kept_exponent] = kept_codes(run, op, m, at(run.step.slot, m), n);
    for (std::int64_t i = 0; i < n; i++)
        codes[i] = static_cast<std::int16_t>(std::clamp<std::int64_t>((product(i) + half) >> exponent, -32767, 32767));
    *kept_exponent = exponent;
}

// Stores the products of this thread's rows, waits for the other threads, and sums over positions.
void Convolve::run(Fp32Run& run, const Op& op) const {
    const std::int64_t n = run.spec(op.target).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        run.kernel.multiply(run.data(op.source, m), run.data(op.source, m) + 2 * n,
                            kept_floats(run, op, m, at(run.step.slot, m), n), n);
    sum_taps(run, op, n, [&](std::int64_t m, float* y) { run.kernel.multiply(y, run.data(op.source, m) + n, y, n); });
}

}  // namespace
}  // namespace intact
