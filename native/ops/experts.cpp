// Mixtures of experts: each row runs through some of the experts, chosen by its scores (docs/spec/numerics.md, section
// 8).
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/exact.h"
#include "runtime/plan.h"
#include "runtime/routing.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Experts final : Operation {
    Experts() : Operation("experts") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void make_room(Model& model, Step& step, const Op& op) const override;
    WeightUse weights(const Op& op) const override;

    static void add_results(Int8Run& run, const Op& op, const ExpertPairs& by, const Matrix& last,
                            const Activations& a);
    static void copy_row(const Activations& from, std::int64_t i, const Activations& to, std::int64_t k);
    static void choose(const Fp32Run& run, const Op& op, const float* scores, std::int64_t n, ExpertChoice* to);
} const experts;

void Experts::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second});
    check_all_inputs(op);
    const std::int64_t count = std::ssize(op.targets) / 3, used = op.routing.used;
    const BufferSpec &scores = buffer_of(model, op.second), &to = buffer_of(model, op.target);
    if (std::ssize(op.targets) != 3 * count || scores.wide || scores.width != count || !to.wide)
        throw std::invalid_argument("experts have three matrices and a narrow score each, and a wide target");
    if (op.bias != -1 && !has_numbers(model, op.bias, count))
        throw std::invalid_argument("every expert has a bias, or none");
    if (op.added != -1) {
        check_index(op.added, model.biases.size(), "scales");
        if (!has_numbers(model, op.added, count)) throw std::invalid_argument("every expert has a scale, or none");
    }
    if (used < 1 || used > count || op.width < 1 || op.routing.factor < 0 || op.routing.factor >= 1 << 20)
        throw std::invalid_argument("a row passes one to all of the experts, with weights below 4");
    const std::int64_t groups = op.routing.groups, some = op.routing.groups_used;
    if (groups < 1 || count % groups || some < 1 || some > groups || used > count / groups * some ||
        (some < groups && count / groups < 2))
        throw std::invalid_argument("experts form groups of one size, at least two, that hold those of a row");
    if (has_wide_codes(model.scheme)) throw std::invalid_argument("this profile runs no mixtures of experts");
    check_targets(model, op);
}

void Experts::make_room(Model& model, Step& step, const Op& op) const {
    make_input_room(model, step, op);
    const std::int64_t pairs = step.rows * op.routing.used;
    if (std::ssize(step.choices) < pairs) step.choices.resize(static_cast<std::size_t>(pairs));
    ensure(model.expert_hidden, pairs * op.width * 8);  // int64, or two floats
    if (model.profile == Profile::kFp32) return;
    lay_out(model.expert_rows, pairs, at(model.buffers, op.source).width);
    lay_out(model.expert_codes, pairs, op.width);
}

WeightUse Experts::weights(const Op& op) const {
    WeightUse use;
    for (std::size_t e = 0; e + 2 < op.targets.size(); e += 3)
        use.chosen.push_back({op.targets[e].weight, op.targets[e + 1].weight, op.targets[e + 2].weight});
    return use;
}

void Experts::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kRows, {op.source, op.second});
    follower.all();
}

// Gathers the rows of each expert, so that an expert's matrices are read once per step.
void Experts::run(Int8Run& run, const Op& op) const {
    at(run.fraction, op.target) = kWide;
    if (run.rows == 0) return;  // behind the last attention, where no logits are wanted
    const std::int64_t used = op.routing.used, count = std::ssize(op.targets) / 3, width = run.spec(op.source).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        choose_experts(run.narrow(op.second, m), count, op.bias < 0 ? nullptr : at(run.model.biases, op.bias).data(),
                       op.added < 0 ? nullptr : at(run.model.biases, op.added).data(), op.routing, run.kernel,
                       &at(run.step.choices, m * used));
    const Activations from = run.quantize({op, run.rows, op.targets});
    const Matrix& first = at(run.model.weights, op.targets[0].weight)->matrix;
    const Matrix& last = at(run.model.weights, op.targets[2].weight)->matrix;
    const std::int64_t height = std::min(row_block(first.blocks, run.kernel.products.row_bytes),
                                         row_block(last.blocks, run.kernel.products.row_bytes));
    const ExpertPairs by = group_by_expert(run.step.choices.data(), run.rows, used, count, height);
    const Span pairs = run.part(std::ssize(by.pairs));
    if (run.thread == 0 && run.model.pager) run.model.pager->choose(run.number(op), by.groups);
    Activations a = lay_out(run.model.expert_rows, std::ssize(by.pairs), width);
    for (std::int64_t p = pairs.begin; p < pairs.end; p++) copy_row(from, at(by.pairs, p).row, a, p);
    run.meet(Stopwatch::kRows);

    auto* hidden = reinterpret_cast<std::int64_t*>(run.model.expert_hidden.data());
    const std::int64_t most = run.most_panels(first, run.rows);
    run.by_blocks(first, std::ssize(by.groups), std::min(run.rows, height), most,
                  [&](std::int64_t g, Span panels, bool again) {
                      const auto& [expert, rows] = at(by.groups, g);
                      const auto results = run.both(&at(op.targets, 3 * expert), a, rows, panels, again);
                      const std::int64_t n0 = panels.begin * 16, n = std::min(panels.end * 16, first.rows) - n0;
                      for (std::int64_t i = 0; i < rows.size(); i++)
                          run.kernel.gate(results[0] + i * panels.size() * 16, results[1] + i * panels.size() * 16, n,
                                          op.gate, hidden + (rows.begin + i) * op.width + n0);
                  });
    run.meet(Stopwatch::kProduct);

    a = lay_out(run.model.expert_codes, std::ssize(by.pairs), op.width);
    a.skip_minima32 = from.skip_minima32;
    a.skip_minima16 = from.skip_minima16;
    for (std::int64_t p = pairs.begin; p < pairs.end; p++)
        if (run.model.scheme)
            run.kernel.quantize_to(hidden + p * op.width, op.width, kWide, *run.model.scheme, a, p);
        else
            run.kernel.quantize_wide(hidden + p * op.width, op.width, kWide, a, p);
    run.meet(Stopwatch::kRows);

    add_results(run, op, by, last, a);
    run.meet(Stopwatch::kProduct);
}

// Computes the experts' last product for this thread's outputs, since the results of several experts go to one row.
void Experts::add_results(Int8Run& run, const Op& op, const ExpertPairs& by, const Matrix& last, const Activations& a) {
    const Span mine = run.part((last.rows + 15) / 16);
    const std::int64_t end = std::min(mine.end * 16, last.rows);
    for (std::int64_t m = 0; m < run.rows && !op.accumulate; m++)
        std::fill(run.wide(op.target, m) + mine.begin * 16, run.wide(op.target, m) + std::max(end, mine.begin * 16), 0);
    const std::int64_t own = matmul_scratch(last.blocks, run.kernel.products.row_bytes);
    const std::int64_t height = row_block(last.blocks, run.kernel.products.row_bytes);
    std::int32_t* room = run.scratch(own + height * kPanels * 32);
    auto* results = reinterpret_cast<std::int64_t*>(room + (own + 1) / 2 * 2);
    const std::int64_t most = run.most_panels(last, run.rows);
    for (const auto& [expert, rows] : by.groups) {
        const LinearTarget& target = at(op.targets, 3 * expert + 2);
        for (std::int64_t from = mine.begin; from < mine.end; from += most) {
            const std::int64_t to = std::min(from + most, mine.end), stride = (to - from) * 16, n0 = from * 16;
            const Output out{kWide, nullptr, results, false, stride, run.bias(target), -rows.begin * stride - n0};
            run.kernel.products.matmul(at(run.model.weights, target.weight)->matrix, a, rows.begin, rows.end, from, to,
                                       out, room, from > mine.begin);
            for (std::int64_t p = rows.begin; p < rows.end; p++)
                run.kernel.add_scaled(results + (p - rows.begin) * stride, std::min(to * 16, last.rows) - n0,
                                      at(by.pairs, p).weight, run.wide(op.target, at(by.pairs, p).row) + n0);
        }
    }
}

// Copies row i of some quantised rows to row k of others of the same width.
void Experts::copy_row(const Activations& from, std::int64_t i, const Activations& to, std::int64_t k) {
    const auto copy = [&](const auto* source, auto* target, std::int64_t count) {
        std::copy_n(source + i * count, count, target + k * count);
    };
    copy(from.codes, to.codes, from.stride);
    copy(from.scale, to.scale, from.blocks);
    copy(from.half_sums, to.half_sums, 2 * from.blocks);
    copy(from.exponent, to.exponent, 1);
    if (!from.skip_minima32) copy(from.minima32, to.minima32, from.minima_stride);
    if (!from.skip_minima32) copy(from.minima32_exp, to.minima32_exp, 1);
    if (!from.skip_minima16) copy(from.minima16, to.minima16, 2 * from.minima_stride);
    if (!from.skip_minima16) copy(from.minima16_exp, to.minima16_exp, 1);
}

// Processes one row and expert after the other, in order of experts; threads share the outputs.
void Experts::run(Fp32Run& run, const Op& op) const {
    const std::int64_t used = op.routing.used, count = std::ssize(op.targets) / 3, width = run.spec(op.source).width;
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
        choose(run, op, run.data(op.second, m), count, &at(run.step.choices, m * used));
    run.meet(Stopwatch::kRows);
    auto* gates = reinterpret_cast<float*>(run.model.expert_hidden.data());
    float* ups = gates + run.step.rows * used * op.width;
    const Span hidden = run.part(op.width), outputs = run.part(run.spec(op.target).width);
    for (std::int64_t p = 0; p < run.step.rows * used; p++) {
        const LinearTarget* const target = &at(op.targets, 3 * at(run.step.choices, p).expert);
        float *gate = gates + p * op.width, *up = ups + p * op.width;
        run.product(target[0], run.data(op.source, p / used), width, gate, hidden);
        if (target[1].weight == target[0].weight && target[1].bias == target[0].bias)
            std::copy_n(gate + hidden.begin, hidden.size(), up + hidden.begin);
        else
            run.product(target[1], run.data(op.source, p / used), width, up, hidden);
        run.kernel.gate(op.gate, gate + hidden.begin, up + hidden.begin, gate + hidden.begin, hidden.size());
    }
    run.meet(Stopwatch::kProduct);
    std::vector<float> result(static_cast<std::size_t>(run.spec(op.target).width));
    run.sums.resize(result.size());
    for (std::int64_t m = 0; m < run.step.rows; m++) {
        std::fill(run.sums.begin(), run.sums.end(), 0.0f);
        for (std::int64_t p = m * used; p < (m + 1) * used; p++) {
            const ExpertChoice& choice = at(run.step.choices, p);
            run.product(at(op.targets, 3 * choice.expert + 2), gates + p * op.width, op.width, result.data(), outputs);
            run.kernel.add_scaled(result.data() + outputs.begin, choice.float_weight, run.sums.data() + outputs.begin,
                                  outputs.size());
        }
        float* to = run.data(op.target, m) + outputs.begin;
        if (op.accumulate)
            run.kernel.add(to, run.sums.data() + outputs.begin, to, outputs.size());
        else
            std::copy_n(run.sums.data() + outputs.begin, outputs.size(), to);
    }
    run.meet(Stopwatch::kProduct);
}

// Chooses a row's experts by its n scores, and computes their weights.
void Experts::choose(const Fp32Run& run, const Op& op, const float* scores, std::int64_t n, ExpertChoice* to) {
    const Routing& routing = op.routing;
    std::vector<float> shares, all(static_cast<std::size_t>(n));
    if (op.bias < 0) {
        choose_in_groups(scores, n, routing, false, to);
    } else {
        if (by_sigmoids(routing.weights))
            run.kernel.sigmoid(scores, all.data(), n);
        else
            run.kernel.softmax(scores, all.data(), n);
        run.kernel.add(all.data(), at(run.model.float_biases, op.bias).data(), all.data(), n);
        choose_in_groups(all.data(), n, routing, true, to);
    }
    if (routing.weights == ExpertWeights::kSoftmax) {
        run.kernel.softmax(scores, all.data(), n);
        scores = all.data();
    }
    for (std::int64_t i = 0; i < routing.used; i++) shares.push_back(scores[to[i].expert]);
    if (by_sigmoids(routing.weights)) run.kernel.sigmoid(shares.data(), shares.data(), routing.used);
    if (routing.weights == ExpertWeights::kSigmoidOfChosen)
        run.kernel.divide_by_sum(shares.data(), 1e-6f, shares.data(), routing.used);
    if (routing.weights == ExpertWeights::kSoftmaxOfChosen)
        run.kernel.softmax(shares.data(), shares.data(), routing.used);
    std::vector<float> weights(shares.size());
    run.kernel.add_scaled(shares.data(), routing.float_factor, weights.data(), routing.used);
    for (std::int64_t i = 0; i < routing.used; i++) {
        const float scale = op.added < 0 ? 1.0f : at(at(run.model.float_biases, op.added), to[i].expert);
        to[i].float_weight = at(weights, i) * scale;
    }
}

}  // namespace
}  // namespace intact
