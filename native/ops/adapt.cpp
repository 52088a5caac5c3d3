// Adds an adapter's low-rank change, up (down x), to the rows of sequences that use it.
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/exact.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

struct Adapt final : Operation {
    Adapt() : Operation("adapt") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override;
    void make_room(Model& model, Step& step, const Op& op) const override;
    std::size_t shares(const Op& op) const override { return op.targets.size(); }
    bool writes(const Op&, int) const override { return false; }  // it adds
    bool reads(const Op& op, int buffer) const override { return op.source == buffer || op.target == buffer; }

    // The rows to which an adapter applies.
    static std::vector<std::int64_t> rows_of(const Run& run, int adapter);
} const adapt;

void Adapt::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target});
    check_all_inputs(op);
    const std::int64_t from = buffer_of(model, op.source).width, to = buffer_of(model, op.target).width;
    if (op.source == op.target || op.targets.size() % 2 || has_wide_codes(model.scheme))
        throw std::invalid_argument("an adapter has two matrices, leads to another buffer, and takes codes of bytes");
    for (std::size_t i = 0; i < op.targets.size(); i += 2) {
        const int down = op.targets[i].weight, up = op.targets[i + 1].weight;
        if (down == -1 && up == -1) continue;
        for (const int weight : {down, up}) check_index(weight, model.weights.size(), "weight");
        if (model.matrix_columns(down) != from || model.matrix_rows(up) != to ||
            model.matrix_rows(down) != model.matrix_columns(up))
            throw std::invalid_argument("an adapter's matrices do not lead from its source to its target");
    }
}

void Adapt::enter(Model& model, const Op& op) const {
    const std::int64_t count = std::ssize(op.targets) / 2;
    model.adapters = std::min(model.adapters.value_or(count), count);
}

void Adapt::make_room(Model& model, Step& step, const Op& op) const {
    make_input_room(model, step, op);
    for (std::size_t i = 0; i < op.targets.size(); i += 2) {
        if (op.targets[i].weight < 0) continue;
        const std::int64_t rank = model.matrix_rows(op.targets[i].weight);
        ensure(model.adapter_rows, step.rows * rank * 4);  // int32 or floats
        if (model.profile == Profile::kFp32) continue;
        ensure(model.adapter_sums, step.rows * at(model.buffers, op.target).width * 8);
        lay_out(model.adapter_codes, step.rows, rank);
        for (Own& o : model.own)
            if (model.scheme) ensure(o.wide, rank * 8);
    }
}

void Adapt::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, kAll, {op.source, op.target});
}

std::vector<std::int64_t> Adapt::rows_of(const Run& run, int adapter) {
    std::vector<std::int64_t> rows;
    for (std::int64_t m = 0; m < run.rows; m++)
        if (run.adapter(m) == adapter) rows.push_back(m);
    return rows;
}

void Adapt::run(Int8Run& run, const Op& op) const {
    const BufferSpec& to = run.spec(op.target);
    for (int number = 0; number < std::ssize(op.targets) / 2; number++) {
        const LinearTarget &down = at(op.targets, 2 * number), &up = at(op.targets, 2 * number + 1);
        if (down.weight < 0) continue;
        const std::vector<std::int64_t> rows = rows_of(run, number);
        const std::int64_t count = std::ssize(rows), rank = at(run.model.weights, down.weight)->matrix.rows;
        if (count == 0) continue;
        const Span mine = run.part(count);
        const Activations x = run.quantize({op, count, {down}, rows.data()});
        auto* inner = reinterpret_cast<std::int32_t*>(run.model.adapter_rows.data());
        run.multiply(down.weight, x, count, {kNarrow, inner, nullptr, false, rank, nullptr});
        run.meet(Stopwatch::kProduct);
        const Activations u = lay_out(run.model.adapter_codes, count, rank);
        for (std::int64_t k = mine.begin; k < mine.end; k++) {
            if (run.model.scheme) {
                auto* room = reinterpret_cast<std::int64_t*>(at(run.model.own, run.thread).wide.data());
                std::copy_n(inner + k * rank, rank, room);
                run.kernel.quantize_to(room, rank, kNarrow, *run.model.scheme, u, k);
            } else {
                run.kernel.quantize_narrow(inner + k * rank, rank, kNarrow, u, k);
            }
        }
        run.meet(Stopwatch::kRows);
        auto* sums = reinterpret_cast<std::int64_t*>(run.model.adapter_sums.data());
        run.multiply(up.weight, u, count, {run.usual(op.target), nullptr, sums, false, to.width, nullptr});
        run.meet(Stopwatch::kProduct);
        for (std::int64_t k = mine.begin; k < mine.end; k++) run.add_row(op.target, at(rows, k), sums + k * to.width);
        run.meet(Stopwatch::kRows);
    }
}

void Adapt::run(Fp32Run& run, const Op& op) const {
    run.meet(Stopwatch::kRows);
    const std::int64_t width = run.spec(op.target).width;
    for (int number = 0; number < std::ssize(op.targets) / 2; number++) {
        const LinearTarget &down = at(op.targets, 2 * number), &up = at(op.targets, 2 * number + 1);
        if (down.weight < 0) continue;
        const std::vector<std::int64_t> rows = rows_of(run, number);
        if (rows.empty()) continue;
        auto* inner = reinterpret_cast<float*>(run.model.adapter_rows.data());
        const std::int64_t rank = at(run.model.weights, down.weight)->floats.rows;
        for (std::int64_t k = 0; k < std::ssize(rows); k++)
            run.product(down, run.data(op.source, at(rows, k)), run.spec(op.source).width, inner + k * rank,
                        run.part(rank));
        run.meet(Stopwatch::kProduct);
        const Span outputs = run.part(width);
        run.sums.resize(static_cast<std::size_t>(width));
        for (std::int64_t k = 0; k < std::ssize(rows); k++) {
            run.product(up, inner + k * rank, rank, run.sums.data(), outputs);
            float* to = run.data(op.target, at(rows, k)) + outputs.begin;
            run.kernel.add(to, run.sums.data() + outputs.begin, to, outputs.size());
        }
        run.meet(Stopwatch::kProduct);
    }
}

}  // namespace
}  // namespace intact
