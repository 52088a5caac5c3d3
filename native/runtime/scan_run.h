// Shared parts of scans, whose states advance over the positions or blocks of each sequence.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {

struct ScanOperation : Operation {
    using Operation::Operation;

    void enter(Model& model, const Op& op) const override { model.scans.push_back(op.scan); }
    bool reads_other_rows() const override { return true; }

    // Runs this thread's heads of a scan, block by block: reads rows from a block's start, writes the step's rows to
    // the target, and stores the state of each block that ends.
    template <class T, class Block> static Block run_blocks(const Run& run, const Op& op, Block block) {
        const Span heads = run.part(op.scan.heads);
        for (std::int64_t m = 0; m < run.step.rows;) {
            const std::int64_t p = at(run.step.position, m), start = p / kScanBlock * kScanBlock;
            const Chunk& chunk = run.chunk(m);
            const std::int64_t end = std::min(start + kScanBlock, chunk.position + chunk.count);
            std::vector<ScanRow> rows;
            for (std::int64_t q = start; q < end; q++) rows.push_back(run.kept_row(op, m, q));
            block.read(std::move(rows), start == 0 ? ScanState{} : run.kept_state(op, m, start - 1));
            const ScanState after = end == start + kScanBlock ? run.kept_state(op, m, end - 1) : ScanState{};
            const auto out = [&](std::int64_t t) { return run.row<T>(op.target, m + t - (p - start)); };
            block.run(heads.begin, heads.end, p - start, after, out);
            m += end - p;
        }
        return block;
    }

    // The same for channels of a selective scan or a recurrence, or heads of a trapezoidal scan, whose states advance
    // by positions. Where no place in a page would belong to two blocks, pages also store the state after a step's last
    // position, with the number of the block's rows in it. A step that continues there starts from it; any other step
    // starts from the block's start and gets the same bits.
    template <class T, class Block> static void run_positions(const Run& run, const Op& op, Block block) {
        const Span channels = run.part(op.scan.heads);
        if (channels.size() == 0) return;
        const bool keeps = kScanBlock % run.model.page_size == 0 || run.model.page_size % kScanBlock == 0;
        for (std::int64_t m = 0; m < run.step.rows;) {
            const std::int64_t p = at(run.step.position, m), start = p / kScanBlock * kScanBlock;
            const Chunk& chunk = run.chunk(m);
            const std::int64_t end = std::min(start + kScanBlock, chunk.position + chunk.count);
            std::int64_t from = start;
            ScanState before = start == 0 ? ScanState{} : run.kept_state(op, m, start - 1);
            if (keeps && p > start)
                if (const ScanState last = run.kept_state(op, m, p - 1); last.counts[channels.begin] == p - start)
                    from = p, before = last;
            std::vector<ScanRow> rows;
            for (std::int64_t q = from; q < end; q++) rows.push_back(run.kept_row(op, m, q));
            if constexpr (requires { block.follow(ScanRow{}); })
                block.follow(from == 0 ? ScanRow{} : run.kept_row(op, m, from - 1));
            block.read(std::move(rows), before);
            const bool ends = end == start + kScanBlock;
            const ScanState after = keeps || ends ? run.kept_state(op, m, end - 1) : ScanState{};
            const auto out = [&](std::int64_t t) { return run.row<T>(op.target, m + t - (p - from)); };
            block.run(channels.begin, channels.end, p - from, after, out);
            for (std::int64_t q = p; keeps && q < end; q++) {
                const auto count = static_cast<std::int32_t>(q + 1 == end ? end - start : 0);
                if (count || (q + 1) % run.model.page_size == 0)
                    std::fill_n(run.kept_state(op, m, q).counts + channels.begin, channels.size(), count);
            }
            m += end - p;
        }
    }

    // After the last scan, only the wanted rows continue.
    static void end(Int8Run& run, const Op& op) {
        at(run.fraction, op.target) = kNarrow;
        run.meet(Stopwatch::kProduct);
        const Plan& plan = run.plan(op);
        if (plan.last && run.step.narrows) run.go_on(plan.live);
    }
};

// Scans that include a convolution.
struct ConvolvedScan : ScanOperation {
    using ScanOperation::ScanOperation;

    // Caches the input rows, then x, B and C after the convolution, and steps; then each thread runs some heads.
    // Calls f(row, x, m) for this thread's rows of a scan: x is SiLU of the convolution, Q16.
    template <class F> static void convolve_rows(const Int8Run& run, const Op& op, const std::int64_t* added, F f) {
        const ScanForm& form = op.scan;
        const std::int64_t n = form.channels();
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
            const ScanRow row = run.kept_row(op, m, at(run.step.position, m));
            row.exponents[0] = row_codes(run.narrow(op.source, m), n, row.raw);
        }
        run.meet(Stopwatch::kRows);
        const std::int64_t* const taps = at(run.model.biases, op.bias).data();
        std::vector<std::int64_t> sum(static_cast<std::size_t>(n));
        std::vector<std::int32_t> mixed(sum.size()), sigmoid(sum.size());
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
            const std::int64_t p = at(run.step.position, m);
            std::fill(sum.begin(), sum.end(), 0);
            for (std::int64_t tap = form.taps - 1, q = p; tap >= 0 && q >= 0; tap--, q--) {
                const ScanRow row = run.kept_row(op, m, q);
                for (std::int64_t i = 0; i < n; i++)
                    at(sum, i) += taps[tap * n + i] * (std::int64_t{row.raw[i]} << row.exponents[0]);
            }
            run.silu(sum, added, mixed.data(), sigmoid.data());
            f(run.kept_row(op, m, p), mixed.data(), m);
        }
        run.meet(Stopwatch::kRows);
    }

    static void keep_steps(const Int8Run& run, const Op& op, const ScanRow& row, std::int64_t m) {
        const std::int64_t* const bias = at(run.model.biases, op.scan.step_bias).data();
        for (std::int64_t head = 0; head < op.scan.heads; head++)
            row.steps[head] = softplus(Run::saturate(run.narrow(op.second, m)[head] + bias[head]));
    }

    // Caches the input rows, then x, B and C after the convolution, and steps; then each thread runs some heads.
    // Calls f(row, m) for this thread's rows of a scan, after writing SiLU of the convolution to to(row).
    template <class T, class F> static void convolve_rows(Fp32Run& run, const Op& op, const float* added, T to, F f) {
        const ScanForm& form = op.scan;
        const std::int64_t n = form.channels();
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++)
            std::copy_n(run.data(op.source, m), n, run.kept_row(op, m, at(run.step.position, m)).float_raw);
        run.meet(Stopwatch::kRows);
        const float* const taps = at(run.model.float_biases, op.bias).data();
        const std::int64_t* const step_bias = at(run.model.biases, form.step_bias).data();
        const std::vector<float> ones(static_cast<std::size_t>(n), 1.0f);
        run.sums.resize(static_cast<std::size_t>(n));
        for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
            const std::int64_t p = at(run.step.position, m);
            const ScanRow row = run.kept_row(op, m, p);
            float* const y = to(row);
            run.kernel.multiply(row.float_raw, taps + (form.taps - 1) * n, y, n);
            for (std::int64_t tap = form.taps - 2, q = p - 1; tap >= 0 && q >= 0; tap--, q--) {
                run.kernel.multiply(run.kept_row(op, m, q).float_raw, taps + tap * n, run.sums.data(), n);
                run.kernel.add(y, run.sums.data(), y, n);
            }
            if (added) run.kernel.add(y, added, y, n);
            run.kernel.gate(GateKind::kSilu, y, ones.data(), y, n);
            for (std::int64_t head = 0; head < form.heads; head++)
                row.steps[head] = softplus(Run::saturate(to_fixed<16>(run.data(op.second, m)[head]) + step_bias[head]));
            f(row, m);
        }
        run.meet(Stopwatch::kRows);
    }
};

}  // namespace intact
