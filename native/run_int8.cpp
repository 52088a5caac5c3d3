// The int8 profile (docs/numerics.md).
#include <algorithm>

#include "attend.h"
#include "convert.h"
#include "step.h"

namespace intact {
namespace {

constexpr int kNarrow = 16, kWide = 20;  // fraction bits of narrow and wide rows

struct Int8Run : Run {
    Int8Run(Model& model, Step& step, int thread)
        : Run(model, step, thread), fraction_(model.buffers.size(), kNarrow) {}

    void run() {
        angles();
        run_program(*this);
    }

    std::int32_t* narrow(int buffer, std::int64_t m) const { return row<std::int32_t>(buffer, m); }
    std::int64_t* wide(int buffer, std::int64_t m) const { return row<std::int64_t>(buffer, m); }
    Buffer& scratch() const { return at(m_.scratch, thread_); }

    void embed(const Op& op) {
        const Weight& w = at(m_.weights, op.weight)->packed;
        std::vector<std::int32_t> codes(static_cast<std::size_t>(w.blocks() * 32));
        std::vector<std::int16_t> scales(static_cast<std::size_t>(w.scale_blocks())), minima(scales.size());
        const auto rounded = [](std::int64_t x, std::int64_t s) {
            return s >= 63 ? 0 : (x + ((std::int64_t{1} << s) >> 1)) >> s;
        };
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t token = s_.tokens[m];
            unpack_row(w, token, codes.data(), scales.data(), w.has_min ? minima.data() : nullptr);
            std::int64_t* x = wide(op.target, m);
            for (std::int64_t k = 0; k < w.columns; k++)
                x[k] = rounded(at(codes, k) * at(scales, k / w.block) * op.multiplier, 4 - w.scale_exp[token]);
            if (w.has_min)
                for (std::int64_t k = 0; k < w.columns; k++)
                    x[k] += rounded(at(minima, k / w.block) * op.multiplier, 4 - w.minimum_exp[token]);
        }
    }

    void norm(const Op& op) {
        const NormGain& norm = at(m_.gains, op.weight);
        const Gain gain{norm.factor.data(), static_cast<std::int64_t>(norm.factor.size()), norm.exponent, norm.epsilon};
        const bool to_wide = spec(op.target).wide;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            if (op.heads == 0)
                m_.kernel->norm_wide(wide(op.source, m), gain, to_wide ? nullptr : narrow(op.target, m),
                                     to_wide ? wide(op.target, m) : nullptr, op.accumulate);
            for (std::int64_t h = 0; h < op.heads; h++)
                m_.kernel->norm_narrow(narrow(op.source, m) + h * gain.n, gain, kNarrow,
                                       narrow(op.target, m) + h * gain.n);
        }
        at(fraction_, op.target) = op.heads ? kNarrow : 30 - norm.exponent;
    }

    void linear(const Op& op) {
        const BufferSpec& from = spec(op.source);
        Activations a = lay_out(m_.quantized, s_.rows, from.width);
        a.skip_minima32 = a.skip_minima16 = true;
        for (const LinearTarget& target : op.targets) keep_minima(a, target.weight);
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            if (from.wide)
                m_.kernel->quantize_wide(wide(op.source, m), from.width, a, m);
            else
                m_.kernel->quantize_narrow(narrow(op.source, m), from.width, at(fraction_, op.source), a, m);
        }
        meet(Stopwatch::kRows);
        for (const LinearTarget& target : op.targets) {
            const BufferSpec& to = spec(target.buffer);
            const std::int64_t* bias = target.bias < 0 ? nullptr : at(m_.biases, target.bias).data();
            Output out{kNarrow, nullptr, nullptr, target.accumulate, to.width, bias};
            if (to.wide) {
                out.fraction = kWide;
                out.wide = wide(target.buffer, 0);
            } else {
                out.narrow = narrow(target.buffer, 0);
            }
            multiply(target.weight, a, s_.rows, out);
            at(fraction_, target.buffer) = kNarrow;
        }
        meet(Stopwatch::kProduct);
    }

    void rope(const Op& op) {
        const auto half = static_cast<std::int64_t>(at(m_.rotations, op.weight).turns.size());
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            for (std::int64_t h = 0; h < op.heads; h++)
                m_.kernel->rotate(narrow(op.source, m) + h * op.width, &at(at(s_.sine, op.weight), m * half),
                                  &at(at(s_.cosine, op.weight), m * half), half, op.interleaved);
    }

    void attend(const Op& op) {
        attend_int8(m_, s_, op, thread_);
        at(fraction_, op.target) = kNarrow;
    }

    void gate(const Op& op) {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            m_.kernel->gate(narrow(op.source, m), narrow(op.second, m), spec(op.source).width, op.gelu,
                            wide(op.target, m));
    }

    void logits(const Op& op) {
        meet(Stopwatch::kRows);
        const std::int64_t width = spec(op.source).width;
        Activations a = lay_out(m_.quantized, s_.wanted_count, width);
        a.skip_minima32 = a.skip_minima16 = true;
        keep_minima(a, op.weight);
        const Span wanted = part(s_.wanted_count);
        for (std::int64_t i = wanted.begin; i < wanted.end; i++)
            m_.kernel->quantize_narrow(narrow(op.source, s_.wanted[i]), width, at(fraction_, op.source), a, i);
        meet(Stopwatch::kRows);
        const std::int64_t outputs = at(m_.weights, op.weight)->matrix.rows;
        multiply(op.weight, a, s_.wanted_count, {kNarrow, s_.logits, nullptr, false, outputs, nullptr});
    }

    void keep_minima(Activations& a, int weight) const {
        const Matrix& w = at(m_.weights, weight)->matrix;
        if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
    }

    // This thread's share of the outputs.
    void multiply(int weight, const Activations& a, std::int64_t rows, const Output& out) {
        const Matrix& w = at(m_.weights, weight)->matrix;
        ensure(scratch(), matmul_scratch(w.blocks) * 4);
        const Span panels = part((w.rows + 15) / 16);
        m_.kernel->matmul(w, a, 0, rows, panels.begin, panels.end, out,
                          reinterpret_cast<std::int32_t*>(scratch().data()));
    }

    std::vector<int> fraction_;  // of each buffer, as of the operation at hand
};

}  // namespace

void run_int8(Model& model, Step& step, int thread) { Int8Run(model, step, thread).run(); }

}  // namespace intact
