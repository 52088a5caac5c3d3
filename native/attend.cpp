#include "attend.h"

#include <algorithm>

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
                                  cache(h, at(*s_.chunks, at(s_.chunk, m))), at(s_.position, m));
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
        std::int64_t first = chunk.position + chunk.count, last = 0;
        for (std::int64_t q = queries.begin; q < queries.end; q++) {
            const std::int64_t m = first_row + q / group, own = h * group + q % group;
            const Span visible = s_.visible(m, op_.window);
            list.push_back({head(op_.source, m, own), visible.begin, visible.end, head(op_.target, m, own)});
            first = std::min(first, visible.begin);
            last = std::max(last, visible.end);
        }
        const std::int64_t positions = last - first + 32, count = queries.size();
        ensure(scratch(), count * m_.depth * 8 + positions * 8 + count * positions * 6);
        m_.kernel->attend(list.data(), static_cast<int>(count), op_.width, op_.scale, cache(h, chunk),
                          reinterpret_cast<std::int64_t*>(scratch().data()));
    }

    HeadCache cache(int head, const Chunk& chunk) const {
        const std::int64_t base = (std::int64_t{op_.layer} * m_.kv_heads + head) * m_.page_size * (3 * m_.depth + 8);
        const std::int64_t values = base + m_.page_size * m_.depth * 2, scales = values + m_.page_size * m_.depth;
        return {chunk.pages.data(), m_.page_size, m_.depth, base, values, scales, scales + m_.page_size * 4};
    }

    const Op& op_;
};

}  // namespace

void attend_int8(Model& model, Step& step, const Op& op, int thread) { Attention(model, step, op, thread).run(); }

}  // namespace intact
