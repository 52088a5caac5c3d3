// Shared parts of convolutions over positions: each row stores what later rows read, and sums over the rows before it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {

struct Convolution : Operation {
    using Operation::Operation;

    void enter(Model& model, const Op& op) const override {
        model.convolutions.push_back(at(model.buffers, op.target).width);
    }
    bool reads_other_rows() const override { return true; }
    void follow(Follower& follower, const Op& op, Plan& plan) const override {
        follower.demand(plan, kRows, {op.source});
        plan.last ? follower.all() : follower.all_but(op.source, op.target);  // behind the last one they wait
    }

    // The n codes and their exponent that a convolution stores for slot `slot` of row m's sequence.
    static std::pair<std::int16_t*, std::int32_t*> kept_codes(const Int8Run& run, const Op& op, std::int64_t m,
                                                              std::int64_t slot, std::int64_t n) {
        const auto [rows, place] = run.kept(op, m, slot);
        return {reinterpret_cast<std::int16_t*>(rows) + place * n,
                reinterpret_cast<std::int32_t*>(rows + run.model.page_size * 2 * n) + place};
    }

    // Waits for the rows that other threads store, and calls f(m, sum) for this thread's rows: sums over positions,
    // Q36.
    template <class F> static void sum_taps(Int8Run& run, const Op& op, std::int64_t n, F f) {
        run.meet(Stopwatch::kRows);
        const std::int64_t* const taps = at(run.model.biases, op.bias).data();  // [tap][channel], the row's own last
        std::vector<std::int64_t> sum(static_cast<std::size_t>(n));
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
            std::fill(sum.begin(), sum.end(), 0);
            std::int64_t slot = at(run.step.slot, m);
            for (std::int64_t tap = op.width - 1; tap >= 0 && slot >= 0; tap--, slot = run.slot_before(m, slot)) {
                const auto [codes, exponent] = kept_codes(run, op, m, slot, n);
                for (std::int64_t i = 0; i < n; i++)
                    at(sum, i) += taps[tap * n + i] * (std::int64_t{codes[i]} << *exponent);
            }
            f(m, sum);
        }
        const Plan& plan = run.plan(op);
        if (!plan.last) return;
        run.meet(Stopwatch::kRows);
        if (run.step.narrows) run.go_on(plan.live);
    }

    // The same in the fp32 profile: n floats.
    static float* kept_floats(const Fp32Run& run, const Op& op, std::int64_t m, std::int64_t slot, std::int64_t n) {
        const auto [rows, place] = run.kept(op, m, slot);
        return reinterpret_cast<float*>(rows) + place * n;
    }

    // Waits for the rows that other threads store, writes this thread's sums over positions to the target, and calls
    // f(m, sum).
    template <class F> static void sum_taps(Fp32Run& run, const Op& op, std::int64_t n, F f) {
        const float* const taps = at(run.model.float_biases, op.bias).data();  // [tap][channel], the row's own last
        run.meet(Stopwatch::kRows);
        run.sums.resize(static_cast<std::size_t>(n));
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
            std::int64_t slot = at(run.step.slot, m);
            float* const to = run.data(op.target, m);
            run.kernel.multiply(kept_floats(run, op, m, slot, n), taps + (op.width - 1) * n, to, n);
            for (std::int64_t tap = op.width - 2; tap >= 0 && --slot >= 0; tap--) {
                run.kernel.multiply(kept_floats(run, op, m, slot, n), taps + tap * n, run.sums.data(), n);
                run.kernel.add(to, run.sums.data(), to, n);
            }
            f(m, to);
        }
    }
};

}  // namespace intact
