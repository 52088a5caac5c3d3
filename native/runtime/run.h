// One thread's run of a step, in either profile.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/step.h"

namespace intact {

// Most operations process each row, or each head of a row, independently, and the same row always belongs to the same
// thread. Only products and attention, which read rows of other threads, wait for them.
struct Run {
    Run(Model& model_, Step& step_, int thread_)
        : model(model_), step(step_), thread(thread_), threads(model_.pool.size()) {
        take(step.rows);
    }

    void mark(Stopwatch::Part part) const {
        if (model.profiling && thread == 0) model.stopwatch.mark(part);
    }
    // Attributes the following time to operation i, or to none if i is one past the last.
    void enter(std::size_t i) const {
        if (model.profiling && thread == 0) model.stopwatch.enter(i);
    }
    // If true, the operation must be run separately.
    bool begin(std::size_t) const { return true; }
    // Waits for the other threads; the time until then counts as `part` of the operation.
    void meet(Stopwatch::Part part) const {
        mark(part);
        model.pool.barrier(thread);
        mark(Stopwatch::kWait);
    }

    std::size_t number(const Op& op) const { return static_cast<std::size_t>(&op - model.ops.data()); }
    template <class T> T* row(int buffer, std::int64_t m) const {
        return reinterpret_cast<T*>(at(model.memory, buffer).data()) + m * at(model.buffers, buffer).width;
    }
    const BufferSpec& spec(int buffer) const { return at(model.buffers, buffer); }
    // This thread's part of `total` units of work.
    Span part(std::int64_t total) const { return span(total, thread, threads); }
    // Continues with `count` rows.
    void take(std::int64_t count) {
        rows = count;
        mine = part(count);
    }
    // Calls f(row, head) for this thread's heads of all rows.
    template <class F> void by_heads(std::int64_t heads, F f) const {
        const Span some = part(rows * heads);
        for (std::int64_t i = some.begin; i < some.end; i++) f(i / heads, i % heads);
    }
    // Calls f(piece) for pieces of 0..total-1 until none is left.
    template <class F> void share(Share work, std::int64_t total, std::int64_t least, F f) const {
        for (Span piece; (piece = work.take(thread, total, least)).size() > 0;) f(piece);
    }

    const Chunk& chunk(std::int64_t m) const { return at(*step.chunks, at(step.chunk, m)); }
    // The adapter of row m of the remaining rows, or -1.
    int adapter(std::int64_t m) const { return chunk(rows < step.rows ? step.wanted[m] : m).adapter; }
    // The slot of the position before the one in slot `slot` of row m's sequence; -1 if there is none.
    std::int64_t slot_before(std::int64_t m, std::int64_t slot) const {
        const Chunk& own = chunk(m);
        if (own.parents.empty() || slot < own.position) return slot - 1;
        const std::int32_t parent = at(own.parents, slot - own.position);
        return parent < 0 ? own.position - 1 : own.position + parent;
    }
    // The location of a convolution's data for slot `slot` of row m's sequence: its page, and the slot's index there.
    std::pair<std::uint8_t*, std::int64_t> kept(const Op& op, std::int64_t m, std::int64_t slot) const {
        std::uint8_t* const page = at(chunk(m).pages, slot / model.page_size);
        return {page + model.convolution_offset(op.layer), slot % model.page_size};
    }
    // The location of a scan's data in the page of a position, and the position's index there.
    std::pair<std::uint8_t*, std::int64_t> scan_base(const Op& op, std::int64_t m, std::int64_t place) const {
        std::uint8_t* const page = at(chunk(m).pages, place / model.page_size);
        return {page + model.scan_offset(op.layer), place % model.page_size};
    }
    // A scan's data for position `place` of row m's sequence; rows of trees have none.
    ScanRow kept_row(const Op& op, std::int64_t m, std::int64_t place) const {
        const auto [base, i] = scan_base(op, m, place);
        return scan_row(op.scan, model.scan_pages(op.layer), base, i, model.profile == Profile::kFp32);
    }
    // The state after the block that ends at position `place` of row m's sequence.
    ScanState kept_state(const Op& op, std::int64_t m, std::int64_t place) const {
        const auto [base, i] = scan_base(op, m, place);
        return scan_state(op.scan, model.scan_pages(op.layer), base, i);
    }

    // Computes sines and cosines for this thread's rows.
    void angles();
    static std::int64_t saturate(std::int64_t x) { return std::clamp<std::int64_t>(x, -INT32_MAX, INT32_MAX); }

    Model& model;
    Step& step;
    const int thread, threads;
    std::int64_t rows = 0;  // that run through the operations
    Span mine{};            // of these the thread's own
};

// Runs the program's operations in order.
template <class R> void run_program(R& run) {
    const std::vector<Op>& ops = run.model.ops;
    run.mark(Stopwatch::kRows);
    for (std::size_t i = 0; i < ops.size(); i++) {
        run.enter(i);
        if (!run.begin(i)) continue;
        ops[i].kind->run(run, ops[i]);
        run.mark(Stopwatch::kRows);
    }
    run.enter(ops.size());
}

}  // namespace intact
