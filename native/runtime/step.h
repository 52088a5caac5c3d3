// One step: the rows that run through the program together, and what the threads of a run share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/forest.h"
#include "runtime/model.h"
#include "runtime/recurrence.h"
#include "runtime/selective.h"
#include "runtime/share.h"
#include "runtime/trapezoidal.h"

namespace intact {

// vector[i] for the signed indices that plain structs hold.
template <class V, class I> auto& at(V& vector, I i) { return vector[static_cast<std::size_t>(i)]; }

struct Step {
    const std::int32_t* tokens;
    std::int64_t rows;
    const std::vector<Chunk>* chunks;
    const std::int64_t* wanted;
    std::int64_t wanted_count;
    std::int32_t* logits;
    std::vector<std::int64_t> position{}, slot{}, chunk{};  // of every row; in a tree of drafts slots run ahead
    std::vector<std::uint64_t> ancestors{};                 // of rows of trees, themselves included: rows of the chunk
    std::vector<std::vector<std::int32_t>> sine{}, cosine{};       // [rotation][row * frequencies + i]
    std::vector<std::vector<float>> float_sine{}, float_cosine{};  // profile fp32
    std::vector<std::vector<const float*>> keys{}, values{};       // profile fp32: [chunk][page]
    Forest forest{}, wanted_forest{};                              // profile int8: of all rows, of the wanted
    bool narrows = false;                                          // profile int8: only some rows are wanted, in order
    std::vector<ExpertChoice> choices{};                           // of the operation at hand, [row][used]
    std::vector<Share::Taken> shares{};  // profile int8: of its products and attentions, [work][thread]

    // Positions that row m's attention sees, the last inclusive: those of its window up to its own, or all of its text.
    Span visible(std::int64_t m, const Op& attend) const {
        if (!attend.causal) {
            const Chunk& text = at(*chunks, at(chunk, m));
            return {0, text.position + text.count - 1};
        }
        const std::int64_t last = at(position, m), window = attend.window;
        return {window && last >= window ? last - window + 1 : 0, last};
    }
};

// What a thread does with a step. Most operations treat each row by itself, or each head of a row, and the same row
// always belongs to the same thread: only products and attention, which read rows of other threads, wait for them.
class Run {
public:
    Run(Model& model, Step& step, int thread) : m_(model), s_(step), thread_(thread), threads_(model.pool.size()) {
        take(step.rows);
    }

    void mark(Stopwatch::Part part) const {
        if (m_.profiling && thread_ == 0) m_.stopwatch.mark(part);
    }
    // What follows belongs to operation i, or the last + 1: to none.
    void enter(std::size_t i) const {
        if (m_.profiling && thread_ == 0) m_.stopwatch.enter(i);
    }
    const std::vector<Op>& ops() const { return m_.ops; }
    // Whether an operation is to be run as it stands.
    bool begin(std::size_t) const { return true; }

protected:
    // Waits for the other threads; what was before is `part` of the operation.
    void meet(Stopwatch::Part part) const {
        mark(part);
        m_.pool.barrier(thread_);
        mark(Stopwatch::kWait);
    }
    // The adapter of row m, of those that go on; or -1.
    int adapter(std::int64_t m) const {
        return at(*s_.chunks, at(s_.chunk, rows_ < s_.rows ? s_.wanted[m] : m)).adapter;
    }
    // The number of what an adapter adds to row m, among the biases; or -1.
    int steered(const Op& op, std::int64_t m) const { return adapter(m) < 0 ? -1 : at(op.targets, adapter(m)).bias; }
    // The rows that pass an adapter's changes.
    std::vector<std::int64_t> adapted(int number) const {
        std::vector<std::int64_t> rows;
        for (std::int64_t m = 0; m < rows_; m++)
            if (adapter(m) == number) rows.push_back(m);
        return rows;
    }
    // Copies columns of this thread's rows as a gather says.
    template <class T> void gather_rows(const Op& op) const {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            const T* from = row<T>(op.source, m);
            T* to = row<T>(op.target, m);
            for (const std::int32_t column : op.index) {
                if (column >= 0)
                    *to = from[column];
                else if (!op.accumulate)
                    *to = T{0};
                to++;
            }
        }
    }
    // Thread 0 exchanges columns of all rows with the other ranks, while the threads wait.
    void exchange_rows(const Op& op) const {
        meet(Stopwatch::kRows);
        if (thread_ == 0 && rows_ > 0) m_.exchange(static_cast<std::size_t>(&op - m_.ops.data()), rows_);
        meet(Stopwatch::kRows);
    }
    // Calls f(m, bias) for this thread's rows of an embedding: what is added to a row, by number, or -1.
    template <class F> void embedded_rows(const Op& op, F f) const {
        bool second = false;  // whether a separator stands before row m in its text
        for (std::int64_t m = op.separator < 0 ? mine_.begin : 0; m < mine_.end; m++) {
            if (m == 0 || at(s_.chunk, m) != at(s_.chunk, m - 1)) second = false;
            if (m >= mine_.begin) f(m, second ? op.second_bias : op.bias);
            second = second || s_.tokens[m] == op.separator;
        }
    }
    // The part of a scan in the page of a position, and the position's number there.
    std::pair<std::uint8_t*, std::int64_t> scan_base(const Op& op, std::int64_t m, std::int64_t place) const {
        std::uint8_t* const page = at(at(*s_.chunks, at(s_.chunk, m)).pages, place / m_.page_size);
        return {page + m_.scan_offset(op.layer), place % m_.page_size};
    }
    template <class T> T* row(int buffer, std::int64_t m) const {
        return reinterpret_cast<T*>(at(m_.memory, buffer).data()) + m * at(m_.buffers, buffer).width;
    }
    const BufferSpec& spec(int buffer) const { return at(m_.buffers, buffer); }
    Span part(std::int64_t total) const { return span(total, thread_, threads_); }
    // So many rows go on.
    void take(std::int64_t rows) {
        rows_ = rows;
        mine_ = part(rows);
    }
    // What a convolution keeps of slot `slot` of row m's text: its page, and the slot's number there.
    std::pair<std::uint8_t*, std::int64_t> kept(const Op& op, std::int64_t m, std::int64_t slot) const {
        std::uint8_t* const page = at(at(*s_.chunks, at(s_.chunk, m)).pages, slot / m_.page_size);
        return {page + m_.convolution_offset(op.layer), slot % m_.page_size};
    }
    // What a scan keeps of position `place` of row m's text; rows of trees have none.
    ScanRow kept_row(const Op& op, std::int64_t m, std::int64_t place) const {
        const auto [base, i] = scan_base(op, m, place);
        return scan_row(op.scan, m_.scan_pages(op.layer), base, i, m_.profile == Profile::kFp32);
    }
    // The state behind the block that ends at position `place` of row m's text.
    ScanState kept_state(const Op& op, std::int64_t m, std::int64_t place) const {
        const auto [base, i] = scan_base(op, m, place);
        return scan_state(op.scan, m_.scan_pages(op.layer), base, i);
    }
    // Runs this thread's heads of a scan, block by block: rows are read from a block's start on, those of the step are
    // written to the target, and a block that ends has its state kept.
    template <class T, class Block> Block run_blocks(const Op& op, Block block) const {
        const Span heads = part(op.scan.heads);
        for (std::int64_t m = 0; m < s_.rows;) {
            const std::int64_t p = at(s_.position, m), start = p / kScanBlock * kScanBlock;
            const Chunk& chunk = at(*s_.chunks, at(s_.chunk, m));
            const std::int64_t end = std::min(start + kScanBlock, chunk.position + chunk.count);
            std::vector<ScanRow> rows;
            for (std::int64_t q = start; q < end; q++) rows.push_back(kept_row(op, m, q));
            block.read(std::move(rows), start == 0 ? ScanState{} : kept_state(op, m, start - 1));
            const ScanState after = end == start + kScanBlock ? kept_state(op, m, end - 1) : ScanState{};
            const auto out = [&](std::int64_t t) { return row<T>(op.target, m + t - (p - start)); };
            block.run(heads.begin, heads.end, p - start, after, out);
            m += end - p;
        }
        return block;
    }
    // The same for channels of a selective scan or a recurrence, or heads of a trapezoidal scan, whose states go from
    // position to position. Pages keep that behind the last position of a step, with the number of the block's rows in
    // it, where they have none of two blocks in one place: a step that goes on there starts from it, any other one from
    // the block's start, to the same bits.
    template <class T, class Block> void run_positions(const Op& op, Block block) const {
        const Span channels = part(op.scan.heads);
        if (channels.size() == 0) return;
        const bool keeps = kScanBlock % m_.page_size == 0 || m_.page_size % kScanBlock == 0;
        for (std::int64_t m = 0; m < s_.rows;) {
            const std::int64_t p = at(s_.position, m), start = p / kScanBlock * kScanBlock;
            const Chunk& chunk = at(*s_.chunks, at(s_.chunk, m));
            const std::int64_t end = std::min(start + kScanBlock, chunk.position + chunk.count);
            std::int64_t from = start;
            ScanState before = start == 0 ? ScanState{} : kept_state(op, m, start - 1);
            if (keeps && p > start)
                if (const ScanState last = kept_state(op, m, p - 1); last.counts[channels.begin] == p - start)
                    from = p, before = last;
            std::vector<ScanRow> rows;
            for (std::int64_t q = from; q < end; q++) rows.push_back(kept_row(op, m, q));
            if constexpr (requires { block.follow(ScanRow{}); })
                block.follow(from == 0 ? ScanRow{} : kept_row(op, m, from - 1));
            block.read(std::move(rows), before);
            const bool ends = end == start + kScanBlock;
            const ScanState after = keeps || ends ? kept_state(op, m, end - 1) : ScanState{};
            const auto out = [&](std::int64_t t) { return row<T>(op.target, m + t - (p - from)); };
            block.run(channels.begin, channels.end, p - from, after, out);
            for (std::int64_t q = p; keeps && q < end; q++) {
                const auto count = static_cast<std::int32_t>(q + 1 == end ? end - start : 0);
                if (count || (q + 1) % m_.page_size == 0)
                    std::fill_n(kept_state(op, m, q).counts + channels.begin, channels.size(), count);
            }
            m += end - p;
        }
    }
    // Keeps x, B, C and what leads them of this thread's rows, int32 or floats; then it leads its heads from position
    // to position.
    template <class T> void run_trapezoidal(const Op& op) const {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
            T* to = reinterpret_cast<T*>(kept_row(op, m, at(s_.position, m)).values);
            for (const int part : {op.source, op.second, op.third, op.fourth})
                to = std::copy_n(row<T>(part, m), spec(part).width, to);
        }
        meet(Stopwatch::kRows);
        const ScanForm& form = op.scan;
        const auto numbers = [&](int i) { return at(m_.biases, i).data(); };
        const auto floats = [&](int i) { return at(m_.float_biases, i).data(); };
        run_positions<T>(
            op, TrapezoidalBlock(
                    form, {numbers(form.step_bias), numbers(form.b_bias), numbers(form.c_bias), numbers(form.skip),
                           floats(form.b_bias), floats(form.c_bias), floats(form.skip), m_.kernel, m_.float_kernel}));
        if constexpr (std::is_same_v<T, float>) meet(Stopwatch::kProduct);
    }
    // The slot of the position before the one in slot `slot` of row m's text; -1 for none.
    std::int64_t slot_before(std::int64_t m, std::int64_t slot) const {
        const Chunk& chunk = at(*s_.chunks, at(s_.chunk, m));
        if (chunk.parents.empty() || slot < chunk.position) return slot - 1;
        const std::int32_t parent = at(chunk.parents, slot - chunk.position);
        return parent < 0 ? chunk.position - 1 : chunk.position + parent;
    }
    // Calls f(row, head) for this thread's heads of all rows.
    template <class F> void by_heads(std::int64_t heads, F f) const {
        const Span mine = part(rows_ * heads);
        for (std::int64_t i = mine.begin; i < mine.end; i++) f(i / heads, i % heads);
    }

    // Calls f(piece) for pieces of 0..total-1 as long as there are any.
    template <class F> void share(Share work, std::int64_t total, std::int64_t least, F f) const {
        for (Span piece; (piece = work.take(thread_, total, least)).size() > 0;) f(piece);
    }

    // Sines and cosines of this thread's rows.
    void angles() {
        for (std::size_t r = 0; r < m_.rotations.size(); r++) {
            const auto& turns = m_.rotations[r].turns;
            const auto n = static_cast<std::int64_t>(turns.size());
            for (std::int64_t m = mine_.begin; m < mine_.end; m++) {
                std::int32_t *sine = &at(s_.sine[r], m * n), *cosine = &at(s_.cosine[r], m * n);
                m_.kernel->sine_cosine(at(s_.position, m), turns.data(), n, sine, cosine);
                const std::int64_t factor = m_.rotations[r].factor, half = std::int64_t{1} << 29;
                if (factor == 2 * half) continue;
                for (std::int64_t i = 0; i < n; i++) {
                    sine[i] = static_cast<std::int32_t>((sine[i] * factor + half) >> 30);
                    cosine[i] = static_cast<std::int32_t>((cosine[i] * factor + half) >> 30);
                }
            }
        }
    }

    Model& m_;
    Step& s_;
    const int thread_, threads_;
    std::int64_t rows_ = 0;  // that run through the operations
    Span mine_{};            // of these the thread's own
};

// Runs the program's operations, one after the other, by the functions of a profile's run.
template <class R> void run_program(R& run) {
    const std::vector<Op>& ops = run.ops();
    run.mark(Stopwatch::kRows);
    for (std::size_t i = 0; i < ops.size(); i++) {
        const Op& op = ops[i];
        run.enter(i);
        if (!run.begin(i)) continue;
        switch (op.kind) {
            case Op::kEmbed:
                run.embed(op);
                break;
            case Op::kNorm:
                run.norm(op);
                break;
            case Op::kGather:
                run.gather(op);
                break;
            case Op::kHadamard:
                run.hadamard(op);
                break;
            case Op::kMultiply:
                run.multiply_row(op);
                break;
            case Op::kLinear:
                run.linear(op);
                break;
            case Op::kAdapt:
                run.adapt(op);
                break;
            case Op::kSteer:
                run.steer(op);
                break;
            case Op::kAllGather:
                run.all_gather(op);
                break;
            case Op::kRope:
                run.rope(op);
                break;
            case Op::kAttend:
                run.attend(op);
                break;
            case Op::kConvolve:
                run.convolve(op);
                break;
            case Op::kConvolveSilu:
                run.convolve_silu(op);
                break;
            case Op::kScan:
                run.scan(op);
                break;
            case Op::kDelta:
                run.delta(op);
                break;
            case Op::kSelective:
                run.selective(op);
                break;
            case Op::kRecurrence:
                run.recurrence(op);
                break;
            case Op::kTrapezoidal:
                run.trapezoidal(op);
                break;
            case Op::kGate:
                run.gate(op);
                break;
            case Op::kExperts:
                run.experts(op);
                break;
            case Op::kLogits:
                run.logits(op);
                break;
        }
        run.mark(op.kind == Op::kLogits ? Stopwatch::kProduct : Stopwatch::kRows);
    }
    run.enter(ops.size());
}

void run_int8(Model& model, Step& step, int thread);
void run_fp32(Model& model, Step& step, int thread);

// Activations for `rows` rows of `columns` values, laid out in one buffer, which grows if it must.
Activations lay_out(Buffer& buffer, std::int64_t rows, std::int64_t columns);

// Bytes of row i: codes, then scales and the exponent, little-endian (numerics.activations.to_bytes).
void copy_activations(const Activations& a, std::int64_t i, std::uint8_t* to);
inline std::int64_t activation_bytes(const Activations& a) { return a.blocks * 34 + 4; }

// Makes a buffer hold at least so many bytes; its contents are lost where it grows.
void ensure(Buffer& buffer, std::int64_t bytes);

}  // namespace intact
