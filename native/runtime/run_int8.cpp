#include "runtime/run_int8.h"

#include "runtime/fixed_scale.h"

namespace intact {

Int8Run::Int8Run(Model& model_, Step& step_, int thread_)
    : Run(model_, step_, thread_), kernel(*model_.kernel), fraction(model_.buffers.size(), kNarrow) {
    for (std::size_t b = 0; b < fraction.size(); b++) fraction[b] = usual(static_cast<int>(b));
}

void Int8Run::run() {
    angles();
    run_program(*this);
}

bool Int8Run::begin(std::size_t i) {
    const Plan& own = model.plan[i];
    if (own.meet) meet(Stopwatch::kRows);
    if (thread == 0 && model.pager) model.pager->reach(i);
    return !own.skip;
}

void Int8Run::add_row(int buffer, std::int64_t m, const std::int64_t* added) const {
    for (std::int64_t n = 0; n < spec(buffer).width; n++)
        if (spec(buffer).wide)
            wide(buffer, m)[n] += added[n];
        else
            narrow(buffer, m)[n] = static_cast<std::int32_t>(
                std::clamp<std::int64_t>(narrow(buffer, m)[n] + added[n], -INT32_MAX, INT32_MAX));
}

Gain Int8Run::gain(const Op& norm) const {
    const NormGain& of = at(model.gains, norm.weight);
    return {of.factor.data(), std::ssize(of.factor) / norm.groups, of.exponent, of.epsilon};
}

void Int8Run::norm_row(const Op& norm, const std::int64_t* x, std::int32_t* narrow, std::int64_t* wide) const {
    Gain g = gain(norm);
    for (std::int64_t begin = 0; begin < norm.groups * g.n; begin += g.n, g.factor += g.n)
        kernel.norm_wide(x + begin, g, narrow ? narrow + begin : nullptr, wide ? wide + begin : nullptr,
                         norm.accumulate);
}

void Int8Run::silu(const std::vector<std::int64_t>& sum, const std::int64_t* added, std::int32_t* y,
                   std::int32_t* room) const {
    const auto n = std::ssize(sum);
    for (std::int64_t i = 0; i < n; i++)
        y[i] = static_cast<std::int32_t>(saturate(((at(sum, i) + (1 << 19)) >> 20) + (added ? added[i] : 0)));
    kernel.sigmoid(y, n, room);
    for (std::int64_t i = 0; i < n; i++)
        y[i] = static_cast<std::int32_t>((std::int64_t{y[i]} * room[i] + (std::int64_t{1} << 29)) >> 30);
}

Activations Int8Run::quantize(const Inputs& inputs) {
    const Op& op = inputs.op;
    const Plan& own_plan = plan(op);
    const bool own = inputs.count == 1 && own_plan.whole;
    const BufferSpec& from = spec(op.source);
    Activations a = lay_out(own ? at(model.own, thread).quantized : model.quantized, inputs.count, from.width);
    a.skip_minima32 = a.skip_minima16 = true;
    for (const LinearTarget& target : inputs.targets) keep_minima(a, target.weight);
    const Span some = own ? Span{0, 1} : part(inputs.count);
    const bool other = op.scale.mantissa || (model.scheme && inputs.by_scheme);
    for (std::int64_t k = some.begin; k < some.end; k++) {
        const std::int64_t m = inputs.rows ? inputs.rows[k] : k;
        if (other) {
            quantize_other(op, m, a, k);
        } else if (own_plan.norm >= 0) {
            const Op& norm = at(model.ops, own_plan.norm);
            auto* normed = reinterpret_cast<std::int32_t*>(at(model.own, thread).row.data());
            norm_row(norm, wide(norm.source, m), normed, nullptr);
            kernel.quantize_narrow(normed, from.width, 30 - gain(norm).exponent, a, k);
        } else if (from.wide) {
            kernel.quantize_wide(wide(op.source, m), from.width, at(fraction, op.source), a, k);
        } else {
            kernel.quantize_narrow(narrow(op.source, m), from.width, at(fraction, op.source), a, k);
        }
        if (op.keep) {
            const std::int32_t* norms = op.norms.empty() ? nullptr : op.norms.data();
            kernel.sparsify(a, k, from.width, {op.keep, norms, op.random});
        }
    }
    if (own)
        mark(Stopwatch::kRows);
    else
        meet(Stopwatch::kRows);
    if (model.recording && thread == 0) record(number(op), a, inputs.count);
    return a;
}

// Quantises row m with the operation's fixed scale or the model's scheme.
void Int8Run::quantize_other(const Op& op, std::int64_t m, const Activations& a, std::int64_t k) const {
    const auto [x, fraction_of_x] = source_row(op, m);
    if (op.scale.mantissa) {
        quantize_fixed(x, spec(op.source).width, fraction_of_x, {op.scale.mantissa, op.scale.exponent}, a, k);
        return;
    }
    Scheme scheme = *model.scheme;
    scheme.outliers = op.outliers;
    kernel.quantize_to(x, spec(op.source).width, fraction_of_x, scheme, a, k);
}

std::pair<const std::int64_t*, int> Int8Run::source_row(const Op& op, std::int64_t m) const {
    const std::int64_t width = spec(op.source).width;
    Own& own = at(model.own, thread);
    auto* room = reinterpret_cast<std::int64_t*>(own.wide.data());
    const std::int64_t* x = room;
    int fraction_of_x = at(fraction, op.source);
    if (plan(op).norm >= 0) {
        const Op& norm = at(model.ops, plan(op).norm);
        auto* normed = reinterpret_cast<std::int32_t*>(own.row.data());
        norm_row(norm, wide(norm.source, m), normed, nullptr);
        std::copy_n(normed, width, room);
        fraction_of_x = 30 - gain(norm).exponent;
    } else if (spec(op.source).wide) {
        x = wide(op.source, m);
    } else {
        std::copy_n(narrow(op.source, m), width, room);
    }
    return {x, fraction_of_x};
}

void Int8Run::record(std::size_t i, const Activations& a, std::int64_t count) const {
    const std::int64_t bytes = activation_bytes(a);
    std::vector<std::uint8_t>& to = model.recorded.at(i);
    to.resize(static_cast<std::size_t>(count * bytes));
    for (std::int64_t k = 0; k < count; k++) copy_activations(a, k, to.data() + k * bytes);
}

void Int8Run::keep_minima(Activations& a, int weight) const {
    if (weight < 0) return;
    const Matrix& w = at(model.weights, weight)->matrix;
    if (w.has_min) (w.block == 16 ? a.skip_minima16 : a.skip_minima32) = false;
}

void Int8Run::multiply(int weight, const Activations& a, std::int64_t count, const Output& out) {
    const Matrix& w = at(model.weights, weight)->matrix;
    std::int32_t* room = scratch(matmul_scratch(w.blocks, kernel.products.row_bytes));
    by_parts(w, count, w.rows, [&](Span some, Span panels, bool again) {
        kernel.products.matmul(w, a, some.begin, some.end, panels.begin, panels.end, out, room, again);
    });
}

std::array<std::int32_t*, 2> Int8Run::both(const LinearTarget* targets, const Activations& a, Span some, Span panels,
                                           bool again) const {
    const Matrix& w = at(model.weights, targets->weight)->matrix;
    const std::int64_t own = matmul_scratch(w.blocks, kernel.products.row_bytes);
    const std::int64_t each = own + row_block(w.blocks, kernel.products.row_bytes) * kPanels * 16;
    const std::int64_t n0 = panels.begin * 16, width = panels.size() * 16;
    std::array<std::int32_t*, 2> results{};
    std::int32_t* room = scratch(2 * each);
    for (std::size_t k = 0; k < 2; k++, room += each) {
        if (k == 1 && targets[1].weight == targets[0].weight && targets[1].bias == targets[0].bias) {
            results[1] = results[0];
            break;
        }
        results[k] = room + own;
        const Output out{kNarrow, results[k], nullptr, false, width, bias(targets[k]), -some.begin * width - n0};
        kernel.products.matmul(at(model.weights, targets[k].weight)->matrix, a, some.begin, some.end, panels.begin,
                               panels.end, out, room, again);
    }
    return results;
}

void Int8Run::go_on(const std::vector<int>& live) {
    if (thread == 0)
        for (const int buffer : live) {
            const std::int64_t bytes = spec(buffer).width * (spec(buffer).wide ? 8 : 4);
            for (std::int64_t i = 0; i < step.wanted_count; i++) {
                std::uint8_t* memory = at(model.memory, buffer).data();
                std::copy_n(memory + step.wanted[i] * bytes, step.wanted[i] == i ? 0 : bytes, memory + i * bytes);
            }
        }
    meet(Stopwatch::kRows);
    take(step.wanted_count);
}

void run_int8(Model& model, Step& step, int thread) { Int8Run(model, step, thread).run(); }

}  // namespace intact
