// One thread's run of a step in the int8 profile (docs/spec/numerics.md), and helpers that operations share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/run.h"

namespace intact {

constexpr int kNarrow = 16, kWide = 20;  // fraction bits of narrow and wide rows
constexpr std::int64_t kPanels = 24;     // of results of as many rows as are packed together, that a cache holds

struct Int8Run : Run {
    // The input rows of a product: row i of `count` is row rows[i] of the operation's source, or row i if `rows` is
    // null.
    struct Inputs {
        const Op& op;
        std::int64_t count;
        const std::vector<LinearTarget>& targets;
        const std::int64_t* rows = nullptr;
        bool by_scheme = true;  // whether the model's scheme holds for them
    };

    Int8Run(Model& model, Step& step, int thread);
    void run();
    // If true, the operation must be run separately; before it, threads meet where necessary.
    bool begin(std::size_t i);

    std::int32_t* narrow(int buffer, std::int64_t m) const { return row<std::int32_t>(buffer, m); }
    std::int64_t* wide(int buffer, std::int64_t m) const { return row<std::int64_t>(buffer, m); }
    // Fraction bits of most operations' results.
    int usual(int buffer) const { return spec(buffer).wide ? kWide : kNarrow; }
    const std::int64_t* bias(const LinearTarget& target) const {
        return target.bias < 0 ? nullptr : at(model.biases, target.bias).data();
    }
    const Plan& plan(const Op& op) const { return model.plan[number(op)]; }
    // The thread's scratch memory.
    std::int32_t* scratch(std::int64_t count) const {
        Buffer& room = at(model.scratch, thread);
        ensure(room, count * 4);
        return reinterpret_cast<std::int32_t*>(room.data());
    }
    // The next shared task; all threads reach the step's shared tasks in the same order.
    Share next() { return {&at(step.shares, shared_++ * threads), threads}; }

    // Adds integers with a buffer's usual fraction bits to one of its rows.
    void add_row(int buffer, std::int64_t m, const std::int64_t* added) const;
    // The gain of a norm; for a norm over groups of columns, the gain of the first group.
    Gain gain(const Op& norm) const;
    // Normalises a whole row, or each of its groups of columns, to a narrow or a wide row.
    void norm_row(const Op& norm, const std::int64_t* x, std::int32_t* narrow, std::int64_t* wide) const;
    // SiLU of a convolution's sums, Q36, plus `added`, Q16; `room` holds the same number of integers.
    void silu(const std::vector<std::int64_t>& sum, const std::int64_t* added, std::int32_t* y,
              std::int32_t* room) const;

    // Quantises rows. If there is only one row and it is complete, each thread quantises it for itself: that takes less
    // time than waiting for another thread to do it.
    Activations quantize(const Inputs& inputs);
    // Row m of a product's input, after its fused norm, and its number of fraction bits.
    std::pair<const std::int64_t*, int> source_row(const Op& op, std::int64_t m) const;

    // Computes this thread's part of a product.
    void multiply(int weight, const Activations& a, std::int64_t count, const Output& out);
    // Products of rows with two matrices of one shape: the results, [row][16 * panels] each, in the thread's scratch
    // memory; if both targets name the same matrix, the product is computed once.
    std::array<std::int32_t*, 2> both(const LinearTarget* targets, const Activations& a, Span some, Span panels,
                                      bool again) const;
    // Number of panels whose results for `count` rows fit the second-level cache together with the rows.
    std::int64_t most_panels(const Matrix& w, std::int64_t count) const {
        const std::int64_t height = row_block(w.blocks, kernel.products.row_bytes);
        return kPanels * height / std::clamp<std::int64_t>(count, 1, height);
    }
    // Calls f(rows, panels, again) for this thread's parts of a product: rows that are packed together, by at most
    // `most` panels. again: these rows are still packed.
    template <class F> void by_parts(const Matrix& w, std::int64_t count, std::int64_t most, F f) {
        constexpr std::int64_t kSmall = 1 << 20;  // bytes of codes that come from a near cache
        // Number of rows per thread from which it pays that each thread reads all weights itself.
        const std::int64_t own = w.rows * w.blocks * 4 * w.bits <= kSmall ? 32 : 64;
        if (count == 0) return;
        const std::int64_t most_rows = row_block(w.blocks, kernel.products.row_bytes);
        std::int64_t blocks = (count + most_rows - 1) / most_rows;
        if (count >= own * threads) blocks = (blocks + threads - 1) / threads * threads;
        const std::int64_t height = std::min(((count + blocks - 1) / blocks + 15) / 16 * 16, most_rows);
        by_blocks(w, (count + height - 1) / height, std::min(count, height), most,
                  [&](std::int64_t block, Span panels, bool again) {
                      f(Span{block * height, std::min((block + 1) * height, count)}, panels, again);
                  });
    }
    // Calls f(block, panels, again) for this thread's parts of products of blocks of about `height` rows.
    template <class F>
    void by_blocks(const Matrix& w, std::int64_t blocks, std::int64_t height, std::int64_t most, F f) {
        constexpr std::int64_t kWorth = 1 << 17;  // products of numbers: about a microsecond
        const std::int64_t panels = (w.rows + 15) / 16, pair = 2 * 16 * 32 * w.blocks * height;  // of panels
        std::int64_t last = -1;
        share(next(), blocks * panels, 2 * ((kWorth + pair - 1) / pair), [&](Span piece) {
            while (piece.size() > 0) {
                const std::int64_t block = piece.begin / panels, before = block * panels, n = piece.begin - before;
                const Span some{n, std::min({piece.end - before, n + most, panels})};
                f(block, some, block == last);
                last = block;
                piece.begin = before + some.end;
            }
        });
    }

    // Moves the wanted rows to the front: after the last operation that reads other rows, only they are needed.
    void go_on(const std::vector<int>& live);

    const Kernels& kernel;
    std::vector<int> fraction;  // of each buffer, as of the operation at hand

private:
    void keep_minima(Activations& a, int weight) const;
    void quantize_other(const Op& op, std::int64_t m, const Activations& a, std::int64_t k) const;
    void record(std::size_t i, const Activations& a, std::int64_t count) const;

    int shared_ = 0;  // works so far
};

}  // namespace intact
