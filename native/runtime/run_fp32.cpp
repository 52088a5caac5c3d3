// The fp32 profile (docs/numerics_fp32.md).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "runtime/delta.h"
#include "runtime/step.h"

namespace intact {
namespace {

struct Fp32Run : Run {
    Fp32Run(Model& model, Step& step, int thread) : Run(model, step, thread), kernel_(*model.float_kernel) {}

    void run() {
        angles();
        for (std::size_t r = 0; r < s_.sine.size(); r++) {
            const auto n = static_cast<std::int64_t>(m_.rotations[r].turns.size());
            const std::int64_t from = mine_.begin * n;
            kernel_.from_q30(s_.sine[r].data() + from, s_.float_sine[r].data() + from, mine_.size() * n);
            kernel_.from_q30(s_.cosine[r].data() + from, s_.float_cosine[r].data() + from, mine_.size() * n);
        }
        run_program(*this);
    }

    float* data(int buffer, std::int64_t m) const { return row<float>(buffer, m); }

    void embed(const Op& op) {
        kernel_.embed(at(m_.weights, op.weight)->floats, s_.tokens + mine_.begin, mine_.size(), op.float_scale,
                      data(op.target, mine_.begin), spec(op.target).width);
        if (op.positions < 0 && op.bias < 0) return;
        const std::int64_t n = spec(op.target).width;
        sums_.resize(static_cast<std::size_t>(n));
        embedded_rows(op, [&](std::int64_t m, int added) {
            float* const x = data(op.target, m);
            if (op.positions >= 0) {
                const auto row = static_cast<std::int32_t>(op.first + at(s_.position, m));
                kernel_.embed(at(m_.weights, op.positions)->floats, &row, 1, 1.0f, sums_.data(), n);
                kernel_.add(x, sums_.data(), x, n);
            }
            if (added >= 0) kernel_.add(x, at(m_.float_biases, added).data(), x, n);
        });
    }

    void norm(const Op& op) {
        const NormGain& gain = at(m_.gains, op.weight);
        const auto n = std::ssize(gain.values), width = n / op.groups;
        std::vector<float> sum(op.accumulate ? gain.values.size() : 0);
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            float* to = data(op.target, m);
            if (op.centered)
                kernel_.layer_norm(data(op.source, m), n, gain.values.data(),
                                   op.bias < 0 ? nullptr : at(m_.float_biases, op.bias).data(), gain.float_epsilon,
                                   op.accumulate ? sum.data() : to);
            else
                for (std::int64_t begin = 0; begin < n; begin += width)
                    kernel_.rmsnorm(data(op.source, m) + begin, 1, width, op.heads ? op.heads : 1, width,
                                    gain.values.data() + begin, gain.float_epsilon,
                                    (op.accumulate ? sum.data() : to) + begin, width);
            if (op.accumulate) kernel_.add(to, sum.data(), to, n);
        }
    }

    void gather(const Op& op) { gather_rows<float>(op); }

    void hadamard(const Op& op) {
        const std::int64_t n = mine_.size() * spec(op.source).width;
        float* to = data(op.target, mine_.begin);
        std::copy_n(data(op.source, mine_.begin), n, to);
        kernel_.hadamard(to, n, op.width);
    }

    void multiply_row(const Op& op) const {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const float* const x = data(op.source, m) + op.first;
            std::transform(x, x + spec(op.target).width, data(op.target, m),
                           [&](float v) { return v * op.float_scale; });
        }
    }

    void linear(const Op& op) {
        meet(Stopwatch::kRows);
        for (const LinearTarget& target : op.targets) {
            FloatWeight w = at(m_.weights, target.weight)->floats;
            w.bias = target.bias < 0 ? nullptr : at(m_.float_biases, target.bias).data();
            const Span outputs = part(w.rows);
            const std::int64_t width = spec(op.source).width;
            if (!target.accumulate) {
                kernel_.linear(w, data(op.source, 0), s_.rows, width, data(target.buffer, 0), w.rows, outputs.begin,
                               outputs.end);
                continue;
            }
            sums_.resize(static_cast<std::size_t>(s_.rows * w.rows));
            kernel_.linear(w, data(op.source, 0), s_.rows, width, sums_.data(), w.rows, outputs.begin, outputs.end);
            for (std::int64_t m = 0; m < s_.rows; m++) {
                float* to = data(target.buffer, m) + outputs.begin;
                kernel_.add(to, sums_.data() + m * w.rows + outputs.begin, to, outputs.size());
            }
        }
        meet(Stopwatch::kProduct);
    }

    // Adds an adapter's low-rank change, up (down x), to the rows of sequences that have it.
    void adapt(const Op& op) {
        meet(Stopwatch::kRows);
        const std::int64_t width = spec(op.target).width;
        for (int number = 0; number < std::ssize(op.targets) / 2; number++) {
            const LinearTarget &down = at(op.targets, 2 * number), &up = at(op.targets, 2 * number + 1);
            if (down.weight < 0) continue;
            const std::vector<std::int64_t> rows = adapted(number);
            if (rows.empty()) continue;
            auto* inner = reinterpret_cast<float*>(m_.adapter_rows.data());
            const std::int64_t rank = at(m_.weights, down.weight)->floats.rows;
            for (std::int64_t k = 0; k < std::ssize(rows); k++)
                product(down, data(op.source, at(rows, k)), spec(op.source).width, inner + k * rank, part(rank));
            meet(Stopwatch::kProduct);
            const Span outputs = part(width);
            sums_.resize(static_cast<std::size_t>(width));
            for (std::int64_t k = 0; k < std::ssize(rows); k++) {
                product(up, inner + k * rank, rank, sums_.data(), outputs);
                float* to = data(op.target, at(rows, k)) + outputs.begin;
                kernel_.add(to, sums_.data() + outputs.begin, to, outputs.size());
            }
            meet(Stopwatch::kProduct);
        }
    }

    // Adds an adapter's vector to the rows of sequences that have it.
    void steer(const Op& op) const {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            if (const int added = steered(op, m); added >= 0)
                kernel_.add(data(op.target, m), at(m_.float_biases, added).data(), data(op.target, m),
                            spec(op.target).width);
    }

    void all_gather(const Op& op) const { exchange_rows(op); }

    void rope(const Op& op) {
        const auto half = static_cast<std::int64_t>(at(m_.rotations, op.weight).turns.size());
        const std::int64_t from = mine_.begin * half;
        kernel_.rope(data(op.source, mine_.begin), mine_.size(), spec(op.source).width, op.heads, op.width,
                     at(s_.float_cosine, op.weight).data() + from, at(s_.float_sine, op.weight).data() + from, half,
                     op.interleaved);
    }

    void attend(const Op& op) {
        const auto bytes = static_cast<std::size_t>(op.width) * sizeof(float);
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t p = at(s_.position, m);
            std::uint8_t* page = at(at(*s_.chunks, at(s_.chunk, m)).pages, p / m_.page_size);
            for (int h = 0; h < op.kv_heads; h++) {
                float* key = reinterpret_cast<float*>(page) + first_row(op.layer, h) + p % m_.page_size * m_.head_width;
                std::memcpy(key, data(op.second, m) + h * op.width, bytes);
                std::memcpy(key + m_.page_values(), data(op.third, m) + h * op.width, bytes);
            }
        }
        meet(Stopwatch::kRows);
        const std::int64_t group = op.heads / op.kv_heads;
        for (std::int64_t m = thread_; m < s_.rows; m += threads_) {
            const std::int64_t c = at(s_.chunk, m);
            const Span visible = s_.visible(m, op);
            sums_.resize(static_cast<std::size_t>(attend_scratch(group, visible.begin, visible.end + 1)));
            for (int h = 0; h < op.kv_heads; h++)
                kernel_.attend(data(op.source, m) + h * group * op.width, group, op.width,
                               {at(s_.keys, c).data(), at(s_.values, c).data(), first_row(op.layer, h), m_.page_size},
                               visible.begin, visible.end + 1, op.float_scale, op.float_cap,
                               op.bias < 0 ? nullptr : &at(at(m_.float_biases, op.bias), h * group), sums_.data(),
                               data(op.target, m) + h * group * op.width);
        }
        meet(Stopwatch::kProduct);
    }

    // Keeps the products of this thread's rows, waits for the others, and sums over positions.
    void convolve(const Op& op) {
        const std::int64_t n = spec(op.target).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            kernel_.multiply(data(op.source, m), data(op.source, m) + 2 * n, kept_floats(op, m, at(s_.slot, m), n), n);
        sum_taps(op, n, [&](std::int64_t m, float* y) { kernel_.multiply(y, data(op.source, m) + n, y, n); });
    }

    // The same of rows as they come, with SiLU in the place of the gate.
    void convolve_silu(const Op& op) {
        const std::int64_t n = spec(op.target).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            std::copy_n(data(op.source, m), n, kept_floats(op, m, at(s_.slot, m), n));
        const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
        sum_taps(op, n, [&](std::int64_t, float* y) {
            if (op.added >= 0) kernel_.add(y, at(m_.float_biases, op.added).data(), y, n);
            kernel_.gate(GateKind::kSilu, y, ones.data(), y, n);
        });
    }

    float* kept_floats(const Op& op, std::int64_t m, std::int64_t slot, std::int64_t n) const {
        const auto [rows, place] = kept(op, m, slot);
        return reinterpret_cast<float*>(rows) + place * n;
    }

    // Waits for the rows that others keep, puts this thread's sums over positions to the target, and calls f(m, sum).
    template <class F> void sum_taps(const Op& op, std::int64_t n, F f) {
        const float* const taps = at(m_.float_biases, op.bias).data();  // [tap][channel], the position's own last
        meet(Stopwatch::kRows);
        sums_.resize(static_cast<std::size_t>(n));
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            std::int64_t slot = at(s_.slot, m);
            float* const to = data(op.target, m);
            kernel_.multiply(kept_floats(op, m, slot, n), taps + (op.width - 1) * n, to, n);
            for (std::int64_t tap = op.width - 2; tap >= 0 && --slot >= 0; tap--) {
                kernel_.multiply(kept_floats(op, m, slot, n), taps + tap * n, sums_.data(), n);
                kernel_.add(to, sums_.data(), to, n);
            }
            f(m, to);
        }
    }

    // Keeps rows as they come, then x, B and C behind the convolution, and steps; then each thread runs some heads.
    // Calls f(row, m) for this thread's rows of a scan, in which SiLU of the convolution is put to to(row).
    template <class T, class F> void convolve_rows(const Op& op, const float* added, T to, F f) {
        const ScanForm& form = op.scan;
        const std::int64_t n = form.channels();
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            std::copy_n(data(op.source, m), n, kept_row(op, m, at(s_.position, m)).float_raw);
        meet(Stopwatch::kRows);
        const float* const taps = at(m_.float_biases, op.bias).data();
        const std::int64_t* const step_bias = at(m_.biases, form.step_bias).data();
        const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
        sums_.resize(static_cast<std::size_t>(n));
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const std::int64_t p = at(s_.position, m);
            const ScanRow row = kept_row(op, m, p);
            float* const y = to(row);
            kernel_.multiply(row.float_raw, taps + (form.taps - 1) * n, y, n);
            for (std::int64_t tap = form.taps - 2, q = p - 1; tap >= 0 && q >= 0; tap--, q--) {
                kernel_.multiply(kept_row(op, m, q).float_raw, taps + tap * n, sums_.data(), n);
                kernel_.add(y, sums_.data(), y, n);
            }
            if (added) kernel_.add(y, added, y, n);
            kernel_.gate(GateKind::kSilu, y, ones.data(), y, n);
            for (std::int64_t head = 0; head < form.heads; head++)
                row.steps[head] = softplus(saturate(to_fixed<16>(data(op.second, m)[head]) + step_bias[head]));
            f(row, m);
        }
        meet(Stopwatch::kRows);
    }

    void scan(const Op& op) {
        const ScanForm& form = op.scan;
        convolve_rows(
            op, at(m_.float_biases, form.bias).data(), [](const ScanRow& row) { return row.float_mixed; },
            [](const ScanRow&, std::int64_t) {});
        run_blocks<float>(op, ScanBlock(form, at(m_.biases, form.rate).data(), at(m_.float_biases, form.skip).data()));
        meet(Stopwatch::kProduct);
    }

    void delta(const Op& op) {
        const ScanForm& form = op.scan;
        std::vector<float> mixed(static_cast<std::size_t>(form.channels()));
        convolve_rows(
            op, nullptr, [&](const ScanRow&) { return mixed.data(); },
            [&](const ScanRow& row, std::int64_t m) {
                for (std::int64_t i = 0; i < form.kept(); i += form.states) unit_floats(mixed.data() + i, form.states);
                std::copy_n(mixed.data(), form.kept(), row.float_mixed);
                std::copy_n(mixed.data() + form.kept(), form.inner(), row.float_values);
                kernel_.sigmoid(data(op.third, m), row.float_strengths, form.heads);
            });
        run_blocks<float>(op, DeltaBlock(form, at(m_.biases, form.rate).data(), m_.kernel));
        meet(Stopwatch::kProduct);
    }

    // Keeps x, B and C of this thread's rows; then steps of its channels, which it leads from position to position.
    void selective(const Op& op) {
        const ScanForm& form = op.scan;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const ScanRow row = kept_row(op, m, at(s_.position, m));
            std::copy_n(data(op.source, m), form.inner(), row.float_values);
            std::copy_n(data(op.third, m), form.states, row.float_mixed);
            std::copy_n(data(op.fourth, m), form.states, row.float_mixed + form.states);
        }
        meet(Stopwatch::kRows);  // steps of all rows are there
        const Span channels = part(form.heads);
        for (std::int64_t m = 0; m < s_.rows; m++) {
            std::uint32_t* const steps = kept_row(op, m, at(s_.position, m)).steps;
            for (std::int64_t c = channels.begin; c < channels.end; c++)
                steps[c] = softplus(to_fixed<16>(data(op.second, m)[c]));
        }
        run_positions<float>(
            op, SelectiveBlock(form, at(m_.biases, form.rate).data(), nullptr, at(m_.float_biases, form.skip).data()));
        meet(Stopwatch::kProduct);
    }

    // Keeps SiLU of this thread's rows and by how much a state moves towards it, as floats; then leads states of its
    // channels from position to position.
    void recurrence(const Op& op) {
        const std::int64_t n = op.scan.heads;
        const float* const room = at(m_.float_biases, op.scan.rate).data();
        const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
        sums_.resize(static_cast<std::size_t>(n));
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const ScanRow row = kept_row(op, m, at(s_.position, m));
            kernel_.gate(GateKind::kSilu, data(op.source, m), ones.data(), row.float_values, n);
            std::transform(data(op.second, m), data(op.second, m) + n, sums_.data(), [](float x) { return -x; });
            kernel_.sigmoid(sums_.data(), sums_.data(), n);
            kernel_.multiply(room, sums_.data(), sums_.data(), n);
            std::transform(sums_.begin(), sums_.end(), row.steps,
                           [](float x) { return std::bit_cast<std::uint32_t>(x); });
        }
        meet(Stopwatch::kRows);
        run_positions<float>(op, RecurrenceBlock());
        meet(Stopwatch::kProduct);
    }

    void trapezoidal(const Op& op) { run_trapezoidal<float>(op); }

    static std::int64_t saturate(std::int64_t x) { return std::clamp<std::int64_t>(x, -INT32_MAX, INT32_MAX); }

    void gate(const Op& op) {
        const std::int64_t n = mine_.size() * spec(op.source).width;
        if (op.second < 0) sums_.assign(static_cast<std::size_t>(n), 1.0f);
        kernel_.gate(op.gate, data(op.source, mine_.begin), op.second < 0 ? sums_.data() : data(op.second, mine_.begin),
                     data(op.target, mine_.begin), n);
    }

    // Row by row and expert by expert, in order of experts; threads share the outputs.
    void experts(const Op& op) {
        const std::int64_t used = op.routing.used, count = std::ssize(op.targets) / 3, width = spec(op.source).width;
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            choose(op, data(op.second, m), count, &at(s_.choices, m * used));
        meet(Stopwatch::kRows);
        auto* gates = reinterpret_cast<float*>(m_.expert_hidden.data());
        float* ups = gates + s_.rows * used * op.width;
        const Span hidden = part(op.width), outputs = part(spec(op.target).width);
        for (std::int64_t p = 0; p < s_.rows * used; p++) {
            const LinearTarget* const target = &at(op.targets, 3 * at(s_.choices, p).expert);
            float *gate = gates + p * op.width, *up = ups + p * op.width;
            product(target[0], data(op.source, p / used), width, gate, hidden);
            if (target[1].weight == target[0].weight && target[1].bias == target[0].bias)
                std::copy_n(gate + hidden.begin, hidden.size(), up + hidden.begin);
            else
                product(target[1], data(op.source, p / used), width, up, hidden);
            kernel_.gate(op.gate, gate + hidden.begin, up + hidden.begin, gate + hidden.begin, hidden.size());
        }
        meet(Stopwatch::kProduct);
        std::vector<float> result(static_cast<std::size_t>(spec(op.target).width));
        sums_.resize(result.size());
        for (std::int64_t m = 0; m < s_.rows; m++) {
            std::fill(sums_.begin(), sums_.end(), 0.0f);
            for (std::int64_t p = m * used; p < (m + 1) * used; p++) {
                const ExpertChoice& choice = at(s_.choices, p);
                product(at(op.targets, 3 * choice.expert + 2), gates + p * op.width, op.width, result.data(), outputs);
                kernel_.add_scaled(result.data() + outputs.begin, choice.float_weight, sums_.data() + outputs.begin,
                                   outputs.size());
            }
            float* to = data(op.target, m) + outputs.begin;
            if (op.accumulate)
                kernel_.add(to, sums_.data() + outputs.begin, to, outputs.size());
            else
                std::copy_n(sums_.data() + outputs.begin, outputs.size(), to);
        }
        meet(Stopwatch::kProduct);
    }

    // Chooses the experts of a row by their n scores, and their weights.
    void choose(const Op& op, const float* scores, std::int64_t n, ExpertChoice* to) const {
        const Routing& routing = op.routing;
        std::vector<float> shares, all(static_cast<std::size_t>(n));
        if (op.bias < 0) {
            choose_in_groups(scores, n, routing, false, to);
        } else {
            if (by_sigmoids(routing.weights))
                kernel_.sigmoid(scores, all.data(), n);
            else
                kernel_.softmax(scores, all.data(), n);
            kernel_.add(all.data(), at(m_.float_biases, op.bias).data(), all.data(), n);
            choose_in_groups(all.data(), n, routing, true, to);
        }
        if (routing.weights == ExpertWeights::kSoftmax) {
            kernel_.softmax(scores, all.data(), n);
            scores = all.data();
        }
        for (std::int64_t i = 0; i < routing.used; i++) shares.push_back(scores[to[i].expert]);
        if (by_sigmoids(routing.weights)) kernel_.sigmoid(shares.data(), shares.data(), routing.used);
        if (routing.weights == ExpertWeights::kSigmoidOfChosen)
            kernel_.divide_by_sum(shares.data(), 1e-6f, shares.data(), routing.used);
        if (routing.weights == ExpertWeights::kSoftmaxOfChosen)
            kernel_.softmax(shares.data(), shares.data(), routing.used);
        std::vector<float> weights(shares.size());
        kernel_.add_scaled(shares.data(), routing.float_factor, weights.data(), routing.used);
        for (std::int64_t i = 0; i < routing.used; i++) {
            const float scale = op.added < 0 ? 1.0f : at(at(m_.float_biases, op.added), to[i].expert);
            to[i].float_weight = at(weights, i) * scale;
        }
    }

    // Some outputs of one row.
    void product(const LinearTarget& target, const float* x, std::int64_t width, float* y, Span outputs) const {
        FloatWeight w = at(m_.weights, target.weight)->floats;
        w.bias = target.bias < 0 ? nullptr : at(m_.float_biases, target.bias).data();
        kernel_.linear(w, x, 1, width, y, w.rows, outputs.begin, outputs.end);
    }

    void logits(const Op& op) {
        meet(Stopwatch::kRows);
        const std::int64_t n = spec(op.source).width;
        const Span wanted = part(s_.wanted_count);
        for (std::int64_t i = wanted.begin; i < wanted.end; i++)
            std::memcpy(&at(m_.head.floats, i * n), data(op.source, s_.wanted[i]),
                        static_cast<std::size_t>(n) * sizeof(float));
        meet(Stopwatch::kRows);
        if (op.weight < 0) return;
        const FloatWeight& w = at(m_.weights, op.weight)->floats;
        const Span outputs = part(w.rows);
        auto* logits = reinterpret_cast<float*>(s_.logits);
        kernel_.linear(w, m_.head.floats.data(), s_.wanted_count, n, logits, w.rows, outputs.begin, outputs.end);
        for (std::int64_t i = 0; op.float_cap != 0 && i < s_.wanted_count; i++) {
            float* y = logits + i * w.rows + outputs.begin;
            kernel_.soft_cap(y, op.float_cap, y, outputs.size());
        }
    }

    // Floats from the start of a page to the first key of a layer's head.
    std::int64_t first_row(int layer, int head) const {
        return (std::int64_t{layer} * m_.kv_heads + head) * m_.page_size * m_.head_width;
    }

    const Fp32Kernels& kernel_;
    std::vector<float> sums_;
};

}  // namespace

void run_fp32(Model& model, Step& step, int thread) { Fp32Run(model, step, thread).run(); }

}  // namespace intact
