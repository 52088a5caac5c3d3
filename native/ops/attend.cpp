// Attention over the pages of each sequence: keys and values of the rows are cached, then each row attends.
#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "runtime/check.h"
#include "runtime/plan.h"
#include "runtime/run_fp32.h"
#include "runtime/run_int8.h"

namespace intact {
namespace {

// One thread's part: it appends the keys and values of its rows to their pages, waits for the other threads, and
// attends for its share of the forest's queries.
struct Attention {
    static constexpr std::int64_t kScores = 384 << 10;  // bytes of scores at once
    static constexpr std::int64_t kDecoded = 4 << 20;   // bytes of several texts' pages that are decoded at once
    static constexpr std::int64_t kFewest = 16;         // queries at once, however much they see
    static constexpr std::int64_t kWorth = 1 << 19;     // products of numbers, keys' alone, that are worth a piece
    static constexpr std::int64_t kOwnRows = 32;  // of a thread's own, for which it had better read all keys itself

    Attention(Int8Run& run, const Forest& forest, const Op& op)
        : run_(run), model_(run.model), step_(run.step), forest_(forest), op_(op), work_(run.next()) {}

    void run() {
        append();
        run_.meet(Stopwatch::kRows);
        attend();
        run_.meet(Stopwatch::kProduct);
    }

    std::int32_t* head(int buffer, std::int64_t m, std::int64_t h) const {
        return run_.narrow(buffer, m) + h * op_.width;
    }
    Buffer& scratch() const { return at(model_.scratch, run_.thread); }
    CodecRoom& codec() const { return at(model_.codecs, run_.thread); }

    void append() {
        constexpr std::int64_t kAhead = 2;  // heads, whose lines come meanwhile
        const std::int64_t heads = op_.kv_heads;
        const Span mine = run_.part(run_.rows * heads);
        for (std::int64_t i = mine.begin; i < mine.end; i++) {
            if (const std::int64_t next = i + kAhead; next < mine.end && !model_.kv.coded())
                run_.kernel.expect(cache(next % heads, pages(next / heads)), at(step_.slot, next / heads));
            const std::int64_t m = i / heads, h = i % heads;
            if (model_.kv.coded()) {
                codec().append(head(op_.second, m, h), head(op_.third, m, h), cache(h, pages(m)), at(step_.slot, m));
                continue;
            }
            run_.kernel.append(head(op_.second, m, h), head(op_.third, m, h), op_.width, cache(h, pages(m)),
                               at(step_.slot, m));
        }
    }

    // The queries of all KV heads form one sequence of work, measured by the number of slots they see; each thread
    // takes pieces of it. If there are many rows, each thread has its own zone of rows, which includes all heads.
    void attend() {
        const std::int64_t rows = static_cast<std::int64_t>(forest_.rows.size()), group = op_.heads / op_.kv_heads;
        seen_.assign(1, 0);
        for (const std::int64_t m : forest_.rows) {
            const Query q = query(m, 0);
            seen_.push_back(seen_.back() + q.end - q.first + std::popcount(q.more));
        }
        const std::int64_t seen = seen_.back();
        const int zones = rows >= kOwnRows * run_.threads ? run_.threads : 1;
        run_.share(work_, seen * op_.kv_heads, 1 + kWorth / (group * op_.width), [&](Span piece) {
            for (int z = 0; z < zones; z++) {
                const Span zone = span(seen, z, zones);
                for (int h = 0; h < op_.kv_heads; h++) {
                    const std::int64_t before = zone.begin * (op_.kv_heads - 1) + h * zone.size();
                    attend_head(h, {query_at(std::clamp(piece.begin - before, zone.begin, zone.end)),
                                    query_at(std::clamp(piece.end - before, zone.begin, zone.end))});
                }
            }
        });
    }

    // The first query of a KV head such that the queries before it see at most `seen` slots.
    std::int64_t query_at(std::int64_t seen) const {
        const std::int64_t group = op_.heads / op_.kv_heads;
        if (seen == seen_.back()) return static_cast<std::int64_t>(forest_.rows.size()) * group;
        const auto r = std::upper_bound(seen_.begin(), seen_.end(), seen) - seen_.begin() - 1;
        return r * group + (seen - at(seen_, r)) * group / (at(seen_, r + 1) - at(seen_, r));
    }

    // Runs queries of KV head h, ordered by row and then by query head, in batches whose scores fit the second-level
    // cache.
    void attend_head(int h, Span queries) {
        const std::int64_t group = op_.heads / op_.kv_heads;
        for (std::int64_t begin = queries.begin; begin < queries.end;) {
            list_.clear();
            std::int64_t first = 0, last = 0, texts = 0;
            for (std::int64_t q = begin; q < queries.end; q++) {
                const Query next = query(at(forest_.rows, q / group), h * group + q % group);
                const std::int64_t end = next.end + std::bit_width(next.more);
                const std::int64_t low = list_.empty() ? next.first : std::min(first, next.first),
                                   high = std::max(last, end);
                const auto count = static_cast<std::int64_t>(list_.size()) + 1;
                if (count > kFewest && count * (high - low) * 4 > kScores) break;
                if (model_.kv.coded() && (list_.empty() || next.pages != list_.back().pages)) {
                    if (texts > 0 && (texts + 1) * (high - low) * KvBits().position_bytes(model_.depth) > kDecoded)
                        break;
                    texts++;
                }
                first = low;
                last = high;
                list_.push_back(next);
            }
            const auto count = static_cast<std::int64_t>(list_.size());
            segments_.clear();
            for (const Stretch& s : forest_.stretches) {
                const std::int64_t a = std::max(s.first * group, begin), b = std::min(s.last * group, begin + count);
                if (a < b && s.begin < last && s.end > first)
                    segments_.push_back({s.begin, s.end, static_cast<int>(a - begin), static_cast<int>(b - begin)});
            }
            const std::int64_t slots = (last + 15) / 16 * 16 - first / 16 * 16;
            ensure(scratch(), attend_bytes(count, slots, model_.depth));
            HeadCache where = cache(h, nullptr);
            if (model_.kv.coded()) where = codec().open(list_, segments_, where);
            run_.kernel.attend(list_.data(), static_cast<int>(count), segments_.data(),
                               static_cast<int>(segments_.size()), op_.width, op_.scale, where, scratch().data());
            if (model_.kv.coded()) codec().finish();
            begin += count;
        }
    }

    Query query(std::int64_t m, std::int64_t h) const {
        const Span visible = step_.visible(m, op_);
        Query q{head(op_.source, m, h), visible.begin, visible.end + 1, 0, head(op_.target, m, h), pages(m)};
        if (op_.bias >= 0) q.sink = static_cast<std::int32_t>(at(at(model_.biases, op_.bias), h));
        if (const std::uint64_t line = at(step_.ancestors, m)) {
            // In a tree: the text before the chunk, and the ancestors within the window.
            const std::int64_t from = run_.chunk(m).position;
            const std::int64_t row = m - (at(step_.slot, m) - from);
            q.end = from;
            q.first = std::min(q.first, from);
            for (std::uint64_t rest = line; rest; rest &= rest - 1) {
                const int i = std::countr_zero(rest);
                if (at(step_.position, row + i) >= visible.begin) q.more |= std::uint64_t{1} << i;
            }
        }
        return q;
    }

    std::uint8_t* const* pages(std::int64_t m) const { return run_.chunk(m).pages.data(); }
    HeadCache cache(std::int64_t h, std::uint8_t* const* pages) const {
        return model_.head_cache(pages, std::int64_t{op_.layer} * model_.kv_heads + h);
    }

    Int8Run& run_;
    Model& model_;
    Step& step_;
    const Forest& forest_;  // whose rows attend; keys and values are kept of all
    const Op& op_;
    Share work_;                      // of the queries
    std::vector<std::int64_t> seen_;  // slots that the rows before each place see
    std::vector<Query> list_;
    std::vector<Segment> segments_;
};

struct Attend final : Operation {
    Attend() : Operation("attend") {}
    void check(const Model& model, const Op& op) const override;
    void follow(Follower& follower, const Op& op, Plan& plan) const override;
    void run(Int8Run& run, const Op& op) const override;
    void run(Fp32Run& run, const Op& op) const override;
    void enter(Model& model, const Op& op) const override { model.whole = model.whole || !op.causal; }
    bool reads_other_rows() const override { return true; }

    // Floats from the start of a page to the first key of a layer's head.
    static std::int64_t first_row(const Model& model, int layer, int head) {
        return (std::int64_t{layer} * model.kv_heads + head) * model.page_size * model.head_width;
    }
} const attend;

void Attend::check(const Model& model, const Op& op) const {
    check_buffers(model, {op.source, op.target, op.second, op.third});
    if (!op.causal && op.window) throw std::invalid_argument("attention that sees a whole text has no window");
    if (op.bias != -1 && !has_numbers(model, op.bias, op.heads))
        throw std::invalid_argument("every head has a sink, or none");
}

void Attend::follow(Follower& follower, const Op& op, Plan& plan) const {
    follower.demand(plan, op.kv_heads, {op.second, op.third});
    follower.all();
}

void Attend::run(Int8Run& run, const Op& op) const {
    const Plan& plan = run.plan(op);
    const bool narrow = plan.last && run.step.narrows;
    Attention(run, narrow ? run.step.wanted_forest : run.step.forest, op).run();
    at(run.fraction, op.target) = kNarrow;
    if (narrow) run.go_on(plan.live);
}

void Attend::run(Fp32Run& run, const Op& op) const {
    const auto bytes = static_cast<std::size_t>(op.width) * sizeof(float);
    for (std::int64_t m = run.mine.begin; m < run.mine.end; m++) {
        const std::int64_t p = at(run.step.position, m);
        std::uint8_t* page = at(run.chunk(m).pages, p / run.model.page_size);
        for (int h = 0; h < op.kv_heads; h++) {
            float* key = reinterpret_cast<float*>(page) + first_row(run.model, op.layer, h) +
                         p % run.model.page_size * run.model.head_width;
            std::memcpy(key, run.data(op.second, m) + h * op.width, bytes);
            std::memcpy(key + run.model.page_values(), run.data(op.third, m) + h * op.width, bytes);
        }
    }
    run.meet(Stopwatch::kRows);
    const std::int64_t group = op.heads / op.kv_heads;
    for (std::int64_t m = run.thread; m < run.step.rows; m += run.threads) {
        const std::int64_t c = at(run.step.chunk, m);
        const Span visible = run.step.visible(m, op);
        run.sums.resize(static_cast<std::size_t>(attend_scratch(group, visible.begin, visible.end + 1)));
        for (int h = 0; h < op.kv_heads; h++)
            run.kernel.attend(run.data(op.source, m) + h * group * op.width, group, op.width,
                              {at(run.step.keys, c).data(), at(run.step.values, c).data(),
                               first_row(run.model, op.layer, h), run.model.page_size},
                              visible.begin, visible.end + 1, op.float_scale, op.float_cap,
                              op.bias < 0 ? nullptr : &at(at(run.model.float_biases, op.bias), h * group),
                              run.sums.data(), run.data(op.target, m) + h * group * op.width);
    }
    run.meet(Stopwatch::kProduct);
}

}  // namespace
}  // namespace intact
