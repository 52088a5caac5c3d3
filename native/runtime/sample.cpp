#include "runtime/sample.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace intact {
namespace {

constexpr std::int64_t kLog2E = 1549082005, kLn2 = 744261118;  // Q30
constexpr std::int64_t kMillion = 1000000;

std::uint64_t uniform64(std::uint64_t key, std::int64_t position) {
    auto c0 = static_cast<std::uint32_t>(position), c1 = static_cast<std::uint32_t>(position >> 32);
    std::uint32_t c2 = 0, c3 = 0;
    auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; round++) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
        const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0,
                            n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<std::uint32_t>(p1);
        c3 = static_cast<std::uint32_t>(p0);
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return c0 | std::uint64_t{c1} << 32;
}

std::int64_t log2_q28(std::int64_t v) {
    const int whole = 63 - __builtin_clzll(static_cast<unsigned long long>(v));
    auto mantissa = static_cast<std::uint64_t>(whole <= 31 ? v << (31 - whole) : v >> (whole - 31));
    std::int64_t result = whole;
    for (int i = 0; i < 28; i++) {
        mantissa = (mantissa * mantissa) >> 31;
        const std::uint64_t bit = mantissa >> 32;
        mantissa >>= bit;
        result = 2 * result + static_cast<std::int64_t>(bit);
    }
    return result;
}

// ceil(mass * millionths / 10^6) without overflow.
std::int64_t portion(std::int64_t mass, std::int64_t millionths) {
    return (mass / kMillion) * millionths + ((mass % kMillion) * millionths + kMillion - 1) / kMillion;
}

std::int64_t share(std::uint64_t uniform, std::int64_t mass) {
    return static_cast<std::int64_t>((static_cast<unsigned __int128>(uniform) * static_cast<std::uint64_t>(mass)) >>
                                     64);
}

constexpr int kBucketBits = 10;

// A token among those that may be drawn, by its index in their list.
struct Ranked {
    std::uint64_t rank;  // distance in the high half, gap in the low
    std::int64_t place;
    bool operator<(const Ranked& other) const { return rank != other.rank ? rank < other.rank : place < other.place; }
};

// A thread's buffers, reused from draw to draw.
struct Scratch {
    std::vector<std::int32_t> row, ids;  // the row as edited; tokens of its places, if some are out
    std::vector<std::int32_t> peaks, sorted, places, logits, weight;
    std::vector<std::uint32_t> words;
    std::vector<std::uint64_t> rank;
    std::vector<std::int64_t> sums;
    std::vector<Ranked> ranked;
};

thread_local Scratch scratch;

template <class T> T* room(std::vector<T>& memory, std::int64_t n) {
    if (memory.size() < static_cast<std::size_t>(n)) memory.resize(static_cast<std::size_t>(n));
    return memory.data();
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

std::int32_t saturate(std::int64_t x) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(x, -INT32_MAX, INT32_MAX));
}

void edit(const Edits& edits, std::int32_t* row) {
    for (std::size_t i = 0; i < edits.biased.size(); i++) {
        std::int32_t& z = row[edits.biased[i]];
        z = saturate(std::int64_t{z} + edits.bias[i]);
    }
    const std::int64_t r = edits.repetition;
    for (const std::int32_t token : edits.repeated) {
        const std::int64_t z = row[token];
        row[token] =
            saturate(z > 0 ? (2 * z * kMillion + r) / (2 * r) : floor_divide(2 * z * r + kMillion, 2 * kMillion));
    }
    for (std::size_t i = 0; i < edits.drawn.size(); i++) {
        const std::int64_t penalty = (edits.counts[i] * edits.frequency + edits.presence) * 65536;
        std::int32_t& z = row[edits.drawn[i]];
        z = saturate(z - floor_divide(2 * penalty + kMillion, 2 * kMillion));
    }
}

// Moves the logits of allowed tokens to `to` (which may be `from`), and their ids; returns their number.
std::int64_t compress(const Kernels& kernel, const Draw& draw, std::int64_t n, const std::int32_t* from,
                      std::int32_t* to, std::int32_t* ids) {
    std::uint32_t* words = room(scratch.words, (n + 31) / 32);
    if (draw.mask) {
        std::copy_n(draw.mask, (n + 31) / 32, words);
    } else {
        std::fill_n(words, (n + 31) / 32, ~std::uint32_t{0});
    }
    if (n % 32) words[n / 32] &= (std::uint32_t{1} << n % 32) - 1;
    if (draw.edits)
        for (const std::int32_t token : draw.edits->forbidden) words[token / 32] &= ~(std::uint32_t{1} << token % 32);
    return kernel.compress(from, n, words, to, ids);
}

// The largest gap whose weight can be at least `least` (which is at least 1).
std::int64_t widest_gap(std::int64_t least, std::int64_t slope) {
    const std::int64_t bits = 31 - (63 - __builtin_clzll(static_cast<unsigned long long>(least)));
    // beyond `bits` halvings a weight is smaller
    return std::min<std::int64_t>(((bits << 46) + slope) / slope, UINT32_MAX);
}

// The tokens that a draw chooses from, in order of their indices.
class Candidates {
public:
    Candidates(const Kernels& kernel, const std::int32_t* logits, std::int64_t n, std::int32_t largest,
               std::int64_t slope)
        : kernel_(kernel), row_(logits), n_(n), largest_(largest), slope_(slope) {}

    // Collects the tokens whose logits are at least `least`; returns their mass.
    std::int64_t collect(std::int32_t least) {
        count_ = kernel_.above(row_, n_, least, room(scratch.places, n_));
        std::int32_t* logits = room(scratch.logits, count_);
        for (std::int64_t i = 0; i < count_; i++) logits[i] = row_[scratch.places[static_cast<std::size_t>(i)]];
        std::int64_t mass = 0;
        kernel_.weights(logits, count_, largest_, slope_, room(scratch.weight, count_), &mass);
        return mass;
    }

    // Keeps the first `count` ranks; returns their mass.
    std::int64_t first(std::int64_t count) {
        if (count < count_) shortest(count, by_gap, [](std::int64_t) { return 1; });
        return mass();
    }

    // Keeps the shortest prefix of ranks whose mass is at least `needed`.
    void heaviest(std::int64_t needed) { shortest(needed, by_gap, own_weight); }

    void at_least(std::int32_t weight) {
        keep([&](std::int64_t i) { return scratch.weight[static_cast<std::size_t>(i)] >= weight; });
    }

    // Keeps the tokens nearest to the entropy that hold `share` millionths of the mass.
    void typical(std::int64_t share) {
        at_least(1);
        std::int64_t mass = 0, moment = 0;
        for (std::int64_t i = 0; i < count_; i++) {
            const std::int64_t weight = scratch.weight[static_cast<std::size_t>(i)];
            mass += weight;
            moment += weight * static_cast<std::int64_t>(surprisal(gap(i))) >> 8;
        }
        const auto mean =
            static_cast<std::int64_t>(static_cast<unsigned __int128>(moment) * 256 / static_cast<std::uint64_t>(mass));
        shortest(portion(mass, share), [&](std::uint64_t gap) { return std::abs(surprisal(gap) - mean); }, own_weight);
    }

    // The index of the drawn token.
    std::int64_t choose(std::uint64_t uniform) const {
        const std::int32_t* weight = scratch.weight.data();
        std::int64_t target = share(uniform, mass()), i = 0;
        while ((target -= weight[i]) >= 0) i++;
        return scratch.places[static_cast<std::size_t>(i)];
    }

private:
    static std::int64_t by_gap(std::uint64_t) { return 0; }
    static std::int64_t own_weight(std::int64_t i) { return scratch.weight[static_cast<std::size_t>(i)]; }
    std::int64_t mass() const {
        return std::accumulate(scratch.weight.begin(), scratch.weight.begin() + count_, std::int64_t{0});
    }
    std::uint64_t gap(std::int64_t i) const {
        return static_cast<std::uint64_t>(std::int64_t{largest_} - scratch.logits[static_cast<std::size_t>(i)]);
    }
    std::int64_t surprisal(std::uint64_t gap) const {  // of a token that has a weight
        return (static_cast<std::int64_t>(gap) * slope_ + (std::int64_t{1} << 29)) >> 30;
    }

    // Keeps the shortest prefix, in order of distance, gap and index, whose amounts add up to at least `needed` (at
    // least one token). Amounts are summed by buckets of ranks, and only the bucket in which the prefix ends is sorted.
    template <class Distance, class Amount> void shortest(std::int64_t needed, Distance distance, Amount amount) {
        std::uint64_t* rank = room(scratch.rank, count_);
        std::uint64_t largest = 0;
        for (std::int64_t i = 0; i < count_; i++) {
            rank[i] = static_cast<std::uint64_t>(distance(gap(i))) << 32 | gap(i);
            largest = std::max(largest, rank[i]);
        }
        const int shift = std::max(0, 64 - kBucketBits - __builtin_clzll(largest | 1));
        std::int64_t buckets[1 << kBucketBits] = {};
        for (std::int64_t i = 0; i < count_; i++) buckets[rank[i] >> shift] += amount(i);
        std::uint64_t last_bucket = 0;
        needed = std::max<std::int64_t>(needed, 1);
        while (buckets[last_bucket] < needed && last_bucket < largest >> shift) needed -= buckets[last_bucket++];
        scratch.ranked.clear();
        for (std::int64_t i = 0; i < count_; i++)
            if (rank[i] >> shift == last_bucket) scratch.ranked.push_back({rank[i], i});
        if (!std::is_sorted(scratch.ranked.begin(), scratch.ranked.end()))
            std::sort(scratch.ranked.begin(), scratch.ranked.end());
        std::size_t end = 0;
        while (end < scratch.ranked.size() && needed > 0) needed -= amount(scratch.ranked[end++].place);
        const Ranked last = scratch.ranked[end - 1];
        keep([&](std::int64_t i) { return !(last < Ranked{rank[i], i}); });
    }

    template <class F> void keep(F stays) {
        std::int64_t count = 0;
        for (std::int64_t i = 0; i < count_; i++)
            if (stays(i)) {
                const auto from = static_cast<std::size_t>(i), to = static_cast<std::size_t>(count++);
                scratch.places[to] = scratch.places[from];
                scratch.logits[to] = scratch.logits[from];
                scratch.weight[to] = scratch.weight[from];
            }
        count_ = count;
    }

    const Kernels& kernel_;
    const std::int32_t* row_;
    const std::int64_t n_;
    const std::int32_t largest_;
    const std::int64_t slope_;
    std::int64_t count_ = 0;
};

// A bound that at least `count` logits reach, given the peaks of a row.
std::int32_t reached_by(std::int64_t count, const std::int32_t* peaks, std::int64_t n) {
    if (count > n) return INT32_MIN;
    std::int32_t* copy = room(scratch.sorted, n);
    std::copy_n(peaks, n, copy);
    std::nth_element(copy, copy + count - 1, copy + n, std::greater<>());
    return copy[count - 1];
}

std::int64_t peak_count(std::int64_t n) { return (n + kPeakRun - 1) / kPeakRun * kPeakLanes; }
std::int64_t sum_count(std::int64_t n) { return (n + kMassRun - 1) / kMassRun; }

// The logits for a draw and their precomputed peaks and sums; sums: of weights at temperature 1, or null.
struct Field {
    const std::int32_t *logits, *peaks;
    std::int64_t n;
    std::int32_t largest;
    const std::int64_t* sums;
    std::int64_t mass;
};

// Draws without filters: finds first the run of logits into which the draw falls, then the index within.
std::int64_t draw_of_all(const Kernels& kernel, const Field& f, std::int64_t slope, std::uint64_t uniform) {
    const std::int64_t* sums = f.sums;
    std::int64_t mass = f.mass;
    if (!sums || slope != kLog2E) {
        std::int64_t* to = room(scratch.sums, sum_count(f.n));
        mass = kernel.masses(f.logits, f.n, f.largest, slope, to);
        sums = to;
    }
    std::int64_t target = share(uniform, mass), run = 0;
    while (target >= sums[run]) target -= sums[run++];
    const std::int64_t from = run * kMassRun;
    std::int32_t weight[kMassRun];
    kernel.weights(f.logits + from, std::min(kMassRun, f.n - from), f.largest, slope, weight, &mass);
    std::int64_t i = 0;
    while ((target -= weight[i]) >= 0) i++;
    return from + i;
}

std::int64_t choose(const Kernels& kernel, const Field& f, const Sampling& s, std::uint64_t uniform) {
    const bool some = s.top_k > 0 && s.top_k < f.n, least = s.min_p > 0, near = s.typical < kMillion;
    if (!some && s.top_p == kMillion && !least && !near) return draw_of_all(kernel, f, s.slope, uniform);
    const std::int64_t floor = portion(std::int64_t{1} << 30, s.min_p), peaks = peak_count(f.n);
    const auto bound = [&](std::int64_t weight) {
        return static_cast<std::int32_t>(std::max<std::int64_t>(f.largest - widest_gap(weight, s.slope), INT32_MIN));
    };
    Candidates list(kernel, f.logits, f.n, f.largest, s.slope);
    if (some) {
        list.collect(std::max(bound(1), reached_by(s.top_k, f.peaks, peaks)));
        const std::int64_t mass = list.first(s.top_k);
        if (s.top_p < kMillion) list.heaviest(portion(mass, s.top_p));
    } else {
        const std::int32_t lowest = bound(std::max<std::int64_t>(floor, 1));
        if (s.top_p < kMillion) {
            const bool known = f.sums && s.slope == kLog2E;
            const std::int64_t mass =
                known ? f.mass : kernel.masses(f.logits, f.n, f.largest, s.slope, room(scratch.sums, sum_count(f.n)));
            const std::int64_t needed = portion(mass, s.top_p);
            // Usually a few tokens hold the whole mass.
            std::int32_t from = lowest;
            for (std::int64_t count = 96;; count *= 4) {
                from = std::max(lowest, reached_by(count, f.peaks, peaks));
                if (list.collect(from) >= needed || from == lowest) break;
            }
            list.heaviest(needed);
        } else {
            list.collect(lowest);
        }
    }
    if (least) list.at_least(static_cast<std::int32_t>(floor));
    if (near) list.typical(s.typical);
    return list.choose(uniform);
}

}  // namespace

Row read_peaks(const Kernels& kernel, const std::int32_t* logits, std::int64_t n) {
    Row row{logits, n, {}, 0, {}, 0};
    row.largest = kernel.peaks(logits, n, room(row.peaks, peak_count(n)));
    return row;
}

Row read_row(const Kernels& kernel, const std::int32_t* logits, std::int64_t n) {
    Row row = read_peaks(kernel, logits, n);
    row.mass = kernel.masses(logits, n, row.largest, kLog2E, room(row.sums, sum_count(n)));
    return row;
}

std::int64_t log_probability(const Row& row, std::int64_t token) {
    const std::int64_t log_mass =
        ((log2_q28(row.mass) - (std::int64_t{30} << 28)) * kLn2 + (std::int64_t{1} << 33)) >> 34;
    return -((std::int64_t{row.largest} - row.logits[token]) << 8) - log_mass;
}

std::int64_t draw(const Kernels& kernel, const Row& row, const Draw& draw) {
    Field f{row.logits, row.peaks.data(), row.n, row.largest, row.sums.data(), row.mass};
    const std::int32_t* ids = nullptr;
    if (draw.edits || draw.mask) {
        std::int32_t* copy = room(scratch.row, f.n + kPeakLanes);
        if (draw.edits) {
            std::copy_n(row.logits, f.n, copy);
            edit(*draw.edits, copy);
            f.logits = copy;
        }
        if (draw.mask || !draw.edits->forbidden.empty()) {
            ids = room(scratch.ids, f.n + kPeakLanes);
            f.n = compress(kernel, draw, f.n, f.logits, copy, scratch.ids.data());
            if (!f.n) return -1;
        }
        f.largest = kernel.peaks(copy, f.n, room(scratch.peaks, peak_count(f.n)));
        f.logits = copy;
        f.peaks = scratch.peaks.data();
        f.sums = nullptr;
    }
    std::int64_t place;
    if (draw.sampling.slope) {
        place = choose(kernel, f, draw.sampling, uniform64(draw.key, draw.position));
    } else {
        kernel.above(f.logits, f.n, f.largest, room(scratch.places, f.n));
        place = scratch.places[0];
    }
    return ids ? ids[place] : place;
}

void top(const Kernels& kernel, const Row& row, std::int64_t k, std::int32_t* tokens) {
    const std::int32_t least = reached_by(k, row.peaks.data(), static_cast<std::int64_t>(row.peaks.size()));
    std::int32_t* places = room(scratch.places, row.n);
    const std::int64_t count = kernel.above(row.logits, row.n, least, places);
    std::partial_sort(places, places + k, places + count, [&](std::int32_t a, std::int32_t b) {
        return row.logits[a] != row.logits[b] ? row.logits[a] > row.logits[b] : a < b;
    });
    std::copy_n(places, k, tokens);
}

}  // namespace intact
