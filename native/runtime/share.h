// Distribution of a step's work over threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace intact {

struct Span {
    std::int64_t begin, end;
    std::int64_t size() const { return end - begin; }
};

// A thread's part of `total`.
inline Span span(std::int64_t total, int thread, int threads) {
    return {total * thread / threads, total * (thread + 1) / threads};
}

// A task in which every thread has a range and takes pieces from its front, large ones first, then ever smaller ones. A
// thread whose range is used up takes pieces from the back of the fullest range, so that if the system or another
// virtual machine delays one thread, the others do more. Tasks whose ranges hold the same rows find them in the cache
// of the thread's processor. The distribution changes no bit of the results.
class Share {
public:
    // The amounts taken from both ends of a range, in their own cache line.
    struct alignas(64) Taken {
        std::atomic<std::uint64_t> ends{0};  // 32 bits each, the front's low
    };

    Share(Taken* taken, int threads) : taken_(taken), threads_(threads) {}

    // The next piece of 0..total-1 for a thread, empty when none is left. least: the smallest worthwhile piece; pieces
    // are multiples of it, except the last. Work that is too small for a choice is cut into equal parts.
    Span take(int thread, std::int64_t total, std::int64_t least) {
        const bool small = threads_ == 1 || total < 4 * threads_ * least;
        const std::int64_t unit = small ? 1 : least, units = (total + unit - 1) / unit;
        for (int from = thread; from >= 0; from = fullest(units)) {
            const bool own = from == thread;
            std::atomic<std::uint64_t>& ends = taken_[from].ends;
            std::uint64_t before = ends.load(std::memory_order_relaxed);
            for (Span left; (left = rest(units, from, before)).size() > 0;) {
                const std::int64_t half = (left.size() + 1) / 2;
                const std::int64_t size =
                    own ? (small ? left.size() : half) : std::min(std::max(half, least / unit), left.size());
                const std::uint64_t after = before + (static_cast<std::uint64_t>(size) << (own ? 0 : 32));
                if (!ends.compare_exchange_weak(before, after, std::memory_order_relaxed)) continue;
                const std::int64_t begin = own ? left.begin : left.end - size;
                return {begin * unit, std::min((begin + size) * unit, total)};
            }
        }
        return {total, total};
    }

private:
    // The remainder of a thread's range.
    Span rest(std::int64_t units, int thread, std::uint64_t taken) const {
        const Span all = span(units, thread, threads_);
        return {all.begin + static_cast<std::int64_t>(taken & 0xFFFFFFFF),
                all.end - static_cast<std::int64_t>(taken >> 32)};
    }

    // The thread whose range has most left, or -1.
    int fullest(std::int64_t units) const {
        int best = -1;
        std::int64_t most = 0;
        for (int i = 0; i < threads_; i++) {
            const std::int64_t left = rest(units, i, taken_[i].ends.load(std::memory_order_relaxed)).size();
            if (left > most) most = left, best = i;
        }
        return best;
    }

    Taken* taken_;
    int threads_;
};

}  // namespace intact
