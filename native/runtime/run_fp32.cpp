#include "runtime/run_fp32.h"

namespace intact {

void Fp32Run::run() {
    angles();
    for (std::size_t r = 0; r < step.sine.size(); r++) {
        const auto n = static_cast<std::int64_t>(model.rotations[r].turns.size());
        const std::int64_t from = mine.begin * n;
        kernel.from_q30(step.sine[r].data() + from, step.float_sine[r].data() + from, mine.size() * n);
        kernel.from_q30(step.cosine[r].data() + from, step.float_cosine[r].data() + from, mine.size() * n);
    }
    run_program(*this);
}

void Fp32Run::product(const LinearTarget& target, const float* x, std::int64_t width, float* y, Span outputs) const {
    FloatWeight w = at(model.weights, target.weight)->floats;
    w.bias = target.bias < 0 ? nullptr : at(model.float_biases, target.bias).data();
    kernel.linear(w, x, 1, width, y, w.rows, outputs.begin, outputs.end);
}

void run_fp32(Model& model, Step& step, int thread) { Fp32Run(model, step, thread).run(); }

}  // namespace intact
