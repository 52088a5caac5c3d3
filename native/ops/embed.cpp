// Embedding rows by token, plus those of positions and segments.
#include <algorithm>
#include <stdexcept>

#include "formats/convert.h"
#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

// Reads rows of a matrix as integers in Q20, with a buffer for one row.
struct EmbeddedRow {
    explicit EmbeddedRow(const Weight& w)
        : codes(static_cast<std::size_t>(w.blocks() * 32)),
          scales(static_cast<std::size_t>(w.scale_blocks())),
          minima(scales.size()) {}

    // x += the row times a factor in Q24.
    void add(const Weight& w, std::int64_t row, std::int64_t factor, std::int64_t* x) {
        unpack_row(w, row, codes.data(), scales.data(), w.has_min ? minima.data() : nullptr);
        const std::int64_t shift = std::min(4 - w.scale_exp[row], 62);  // beyond 62 all is 0
        const std::int64_t half = (std::int64_t{1} << shift) >> 1;
        for (std::int64_t k = 0; k < w.columns; k++)
            x[k] += (at(codes, k) * (at(scales, k / w.block) * factor) + half) >> shift;
        if (!w.has_min) return;
        const std::int64_t own = std::min(4 - w.minimum_exp[row], 62), own_half = (std::int64_t{1} << own) >> 1;
        for (std::int64_t k = 0; k < w.columns; k++) x[k] += (at(minima, k / w.block) * factor + own_half) >> own;
    }

    std::vector<std::int32_t> codes;
    std::vector<std::int16_t> scales, minima;
};

struct Embed final : Operation {
    Embed() : Operation("embed") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override;
    WeightUse weights(const Op& op) const override;
    bool reads_places() const override { return true; }

    // Calls f(m, bias) for each of this thread's rows, where bias is the index of its added bias or -1.
    template <class F> static void each_row(const Run& run, const Op& op, F f);
} const embed;

void Embed::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.target});
    check_index(op.weight, model.weights.size(), "weight");
    const std::int64_t width = buffer_of(model, op.target).width;
    if (op.positions != -1) {
        check_index(op.positions, model.weights.size(), "weight");
        if (model.matrix_columns(op.positions) != width || op.first < 0 || op.first >= model.matrix_rows(op.positions))
            throw std::invalid_argument("an embedding's positions are rows of its width");
    }
    for (const int bias : {op.bias, op.second_bias})
        if (bias != -1 && !has_numbers(model, bias, width))
            throw std::invalid_argument("an embedding adds rows of its width");
    if ((op.separator < 0) != (op.second_bias < 0))
        throw std::invalid_argument("an embedding has a separator and a second row behind it, or neither");
}

void Embed::enter(Model& model, const Op& op) const {
    if (model.vocabulary == 0) model.vocabulary = model.matrix_rows(op.weight);
    if (op.positions >= 0)
        model.most_positions = std::min(model.most_positions, model.matrix_rows(op.positions) - op.first);
}

WeightUse Embed::weights(const Op& op) const {
    WeightUse use{{op.weight}};
    if (op.positions >= 0) use.all.push_back(op.positions);
    use.whole = false;
    return use;
}

void Embed::follow(Follower& follower, const Op& op, Plan& plan) const { follower.share(plan, kRows, {}, op.target); }

template <class F> void Embed::each_row(const Run& run, const Op& op, F f) {
    bool second = false;  // whether a separator stands before row m in its text
    for (std::int64_t m = op.separator < 0 ? run.mine.begin : 0; m < run.mine.end; m++) {
        if (m == 0 || at(run.step.chunk, m) != at(run.step.chunk, m - 1)) second = false;
        if (m >= run.mine.begin) f(m, second ? op.second_bias : op.bias);
        second = second || run.step.tokens[m] == op.separator;
    }
}

void Embed::run(Int8Run& run, const Op& op) const {
    const Weight& w = at(run.model.weights, op.weight)->packed;
    EmbeddedRow room(w);
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        std::fill_n(run.wide(op.target, m), w.columns, 0);
        room.add(w, run.step.tokens[m], op.multiplier, run.wide(op.target, m));
    }
    if (op.positions >= 0 || op.bias >= 0) {
        constexpr std::int64_t kOne = std::int64_t{1} << 24;
        const Weight* const places = op.positions < 0 ? nullptr : &at(run.model.weights, op.positions)->packed;
        EmbeddedRow other(places ? *places : w);
        each_row(run, op, [&](std::int64_t m, int added) {
            if (places) other.add(*places, op.first + at(run.step.position, m), kOne, run.wide(op.target, m));
            if (added >= 0) run.add_row(op.target, m, at(run.model.biases, added).data());
        });
    }
    if (run.model.pager) run.meet(Stopwatch::kRows);  // before thread 0 goes on, and the pager drops what others read
}

void Embed::run(Fp32Run& run, const Op& op) const {
    run.kernel.embed(at(run.model.weights, op.weight)->floats, run.step.tokens + run.mine.begin, run.mine.size(),
                     op.float_scale, run.data(op.target, run.mine.begin), run.spec(op.target).width);
    if (op.positions < 0 && op.bias < 0) return;
    const std::int64_t n = run.spec(op.target).width;
    run.sums.resize(static_cast<std::size_t>(n));
    each_row(run, op, [&](std::int64_t m, int added) {
        float* const x = run.data(op.target, m);
        if (op.positions >= 0) {
            const auto row = static_cast<std::int32_t>(op.first + at(run.step.position, m));
            run.kernel.embed(at(run.model.weights, op.positions)->floats, &row, 1, 1.0f, run.sums.data(), n);
            run.kernel.add(x, run.sums.data(), x, n);
        }
        if (added >= 0) run.kernel.add(x, at(run.model.float_biases, added).data(), x, n);
    });
}

}  // namespace
}  // namespace intact
