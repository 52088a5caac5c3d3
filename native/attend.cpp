#include "attend.h"

#include <algorithm>
#include <bit>

namespace intact {
namespace {

struct Attention : Run {
    Attention(Model& model, Step& step, const Op& op, int thread) : Run(model, step, thread), op_(op) {}

    void run() {
        append();
        meet(Stopwatch::kRows);
        attend();
        meet(Stopwatch::kProduct);
    }

    std::int32_t* head(int buffer, std::int64_t m, std::int64_t h) const {
        return row<std::int32_t>(buffer, m) + h * op_.width;
    }
    Buffer& scratch() const { return at(m_.scratch, thread_); }

    void append() {
        for (std::int64_t m = mine_.begin; m < mine_.end; m++)
            for (int h = 0; h < op_.kv_heads; h++)
                m_.kernel->append(head(op_.second, m, h), head(op_.third, m, h), op_.width,
                                  cache(h, at(*s_.chunks, at(s_.chunk, m))), at(s_.slot, m));
    }

    void attend() {
        std::int64_t unit = 0, first_row = 0;
        for (const Chunk& chunk : *s_.chunks) {
            const std::int64_t queries = chunk.count * (op_.heads / op_.kv_heads);
            const std::int64_t tiles = (queries + m_.kernel->query_rows - 1) / m_.kernel->query_rows;
            for (int h = 0; h < op_.kv_heads; h++)
                for (std::int64_t tile = 0; tile < tiles; tile++)
                    if (unit++ % threads_ == thread_)
                        attend_tile(chunk, h, first_row, {queries * tile / tiles, queries * (tile + 1) / tiles});
            first_row += chunk.count;
        }
    }

    // Some of the queries, row by row and within a row head by head, that share KV head h.
    void attend_tile(const Chunk& chunk, int h, std::int64_t first_row, Span queries) {
        const std::int64_t group = op_.heads / op_.kv_heads;
        std::vector<Query> list;
        std::int64_t first = chunk.position + chunk.count;
        for (std::int64_t q = queries.begin; q < queries.end; q++) {
            const std::int64_t m = first_row + q / group, own = h * group + q % group;
            list.push_back(query(m, own));
            first = std::min(first, list.back().first);
        }
        const std::int64_t positions = chunk.position + chunk.count - first + 32, count = queries.size();
        ensure(scratch(), count * m_.depth * 8 + positions * 8 + count * positions * 6);
        m_.kernel->attend(list.data(), static_cast<int>(count), op_.width, op_.scale, cache(h, chunk),
                          reinterpret_cast<std::int64_t*>(scratch().data()));
    }

    Query query(std::int64_t m, std::int64_t h) const {
        const Span visible = s_.visible(m, op_.window);
        Query q{head(op_.source, m, h), visible.begin, visible.end + 1, 0, head(op_.target, m, h)};
        if (const std::uint64_t line = at(s_.ancestors, m)) {
            // Of a tree: the text before the chunk, and those ancestors that the window reaches.
            const std::int64_t from = at(*s_.chunks, at(s_.chunk, m)).position;
            const std::int64_t row = m - (at(s_.slot, m) - from);
            q.end = from;
            q.first = std::min(q.first, from);
            for (std::uint64_t rest = line; rest; rest &= rest - 1) {
                const int i = std::countr_zero(rest);
                if (at(s_.position, row + i) >= visible.begin) q.more |= std::uint64_t{1} << i;
            }
        }
        return q;
    }

    HeadCache cache(int head, const Chunk& chunk) const {
        return m_.head_cache(chunk.pages.data(), std::int64_t{op_.layer} * m_.kv_heads + head);
    }

    const Op& op_;
};

}  // namespace

void attend_int8(Model& model, Step& step, const Op& op, int thread) { Attention(model, step, op, thread).run(); }

}  // namespace intact
