#include "runtime/attend.h"

#include <algorithm>
#include <bit>

namespace intact {
namespace {

constexpr std::int64_t kScores = 384 << 10;  // bytes of scores at once
constexpr std::int64_t kDecoded = 4 << 20;   // bytes of several texts' pages that are decoded at once
constexpr std::int64_t kFewest = 16;         // queries at once, however much they see
constexpr std::int64_t kWorth = 1 << 19;     // products of numbers, keys' alone, that are worth a piece
constexpr std::int64_t kRows = 32;           // of a thread's own, for which it had better read all keys itself

struct Attention : Run {
    Attention(Model& model, Step& step, const Forest& forest, const Op& op, int thread, Share work)
        : Run(model, step, thread), forest_(forest), op_(op), work_(work) {}

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
    CodecRoom& codec() const { return at(m_.codecs, thread_); }

    void append() {
        constexpr std::int64_t kAhead = 2;  // heads, whose lines come meanwhile
        const std::int64_t heads = op_.kv_heads;
        const Span mine = part(rows_ * heads);
        for (std::int64_t i = mine.begin; i < mine.end; i++) {
            if (const std::int64_t next = i + kAhead; next < mine.end && !m_.kv.coded())
                m_.kernel->expect(cache(next % heads, pages(next / heads)), at(s_.slot, next / heads));
            const std::int64_t m = i / heads, h = i % heads;
            if (m_.kv.coded()) {
                codec().append(head(op_.second, m, h), head(op_.third, m, h), cache(h, pages(m)), at(s_.slot, m));
                continue;
            }
            m_.kernel->append(head(op_.second, m, h), head(op_.third, m, h), op_.width, cache(h, pages(m)),
                              at(s_.slot, m));
        }
    }

    // The queries of all KV heads stand in one line, of the length of what they see; each thread takes pieces of it.
    // Of many rows there is a zone for each thread, one behind the other, in which all heads have their part.
    void attend() {
        const std::int64_t rows = static_cast<std::int64_t>(forest_.rows.size()), group = op_.heads / op_.kv_heads;
        seen_.assign(1, 0);
        for (const std::int64_t m : forest_.rows) {
            const Query q = query(m, 0);
            seen_.push_back(seen_.back() + q.end - q.first + std::popcount(q.more));
        }
        const std::int64_t seen = seen_.back();
        const int zones = rows >= kRows * threads_ ? threads_ : 1;
        share(work_, seen * op_.kv_heads, 1 + kWorth / (group * op_.width), [&](Span piece) {
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

    // The first query of a KV head of which no more than so many slots are seen before it.
    std::int64_t query_at(std::int64_t seen) const {
        const std::int64_t group = op_.heads / op_.kv_heads;
        if (seen == seen_.back()) return static_cast<std::int64_t>(forest_.rows.size()) * group;
        const auto r = std::upper_bound(seen_.begin(), seen_.end(), seen) - seen_.begin() - 1;
        return r * group + (seen - at(seen_, r)) * group / (at(seen_, r + 1) - at(seen_, r));
    }

    // Queries of KV head h, by place of the row and within a row head by head, as many at once as their scores fit the
    // second-level cache.
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
                if (m_.kv.coded() && (list_.empty() || next.pages != list_.back().pages)) {
                    if (texts > 0 && (texts + 1) * (high - low) * KvBits().position_bytes(m_.depth) > kDecoded) break;
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
            ensure(scratch(), attend_bytes(count, slots, m_.depth));
            HeadCache where = cache(h, nullptr);
            if (m_.kv.coded()) where = codec().open(list_, segments_, where);
            m_.kernel->attend(list_.data(), static_cast<int>(count), segments_.data(),
                              static_cast<int>(segments_.size()), op_.width, op_.scale, where, scratch().data());
            if (m_.kv.coded()) codec().finish();
            begin += count;
        }
    }

    Query query(std::int64_t m, std::int64_t h) const {
        const Span visible = s_.visible(m, op_);
        Query q{head(op_.source, m, h), visible.begin, visible.end + 1, 0, head(op_.target, m, h), pages(m)};
        if (op_.bias >= 0) q.sink = static_cast<std::int32_t>(at(at(m_.biases, op_.bias), h));
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

    std::uint8_t* const* pages(std::int64_t m) const { return at(*s_.chunks, at(s_.chunk, m)).pages.data(); }
    HeadCache cache(std::int64_t h, std::uint8_t* const* pages) const {
        return m_.head_cache(pages, std::int64_t{op_.layer} * m_.kv_heads + h);
    }

    const Forest& forest_;  // whose rows attend; keys and values are kept of all
    const Op& op_;
    Share work_;                      // of the queries
    std::vector<std::int64_t> seen_;  // slots that the rows before each place see
    std::vector<Query> list_;
    std::vector<Segment> segments_;
};

}  // namespace

void attend_int8(Model& model, Step& step, const Forest& forest, const Op& op, int thread, Share work) {
    Attention(model, step, forest, op, thread, work).run();
}

}  // namespace intact
