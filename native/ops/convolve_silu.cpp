// A convolution of unmodified rows, followed by SiLU.
#include <algorithm>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/convolution.h"

namespace intact {
namespace {

struct ConvolveSilu final : Convolution {
    ConvolveSilu() : Convolution("convolve_silu") {}
    void check(const Model& model, const Op& op) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
} const convolve_silu;

void ConvolveSilu::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    const BufferSpec &from = buffer_of(model, op.source), &to = buffer_of(model, op.target);
    if (from.wide || to.wide || from.width != to.width)
        throw std::invalid_argument("a convolution with SiLU goes from a narrow buffer to another of its width");
    if (op.added != -1) {
        check_index(op.added, model.biases.size(), "numbers to add");
        if (!has_numbers(model, op.added, to.width))
            throw std::invalid_argument("a convolution with SiLU adds a number to each channel, or none");
    }
    check_taps(model, op);
}

void ConvolveSilu::run(Int8Run& run, const Op& op) const {
    const std::int64_t n = run.spec(op.target).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const auto [codes, exponent] = kept_codes(run, op, m, at(run.step.slot, m), n);
        *exponent = row_codes(run.narrow(op.source, m), n, codes);
    }
    std::vector<std::int32_t> room(static_cast<std::size_t>(n));
    sum_taps(run, op, n, [&](std::int64_t m, const std::vector<std::int64_t>& sum) {
        run.silu(sum, op.added < 0 ? nullptr : at(run.model.biases, op.added).data(), run.narrow(op.target, m),
                 room.data());
    });
    at(run.fraction, op.target) = kNarrow;
}

void ConvolveSilu::run(Fp32Run& run, const Op& op) const {
    const std::int64_t n = run.spec(op.target).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        std::copy_n(run.data(op.source, m), n, kept_floats(run, op, m, at(run.step.slot, m), n));
    const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
    sum_taps(run, op, n, [&](std::int64_t, float* y) {
        if (op.added >= 0) run.kernel.add(y, at(run.model.float_biases, op.added).data(), y, n);
        run.kernel.gate(GateKind::kSilu, y, ones.data(), y, n);
    });
}

}  // namespace
}  // namespace intact
