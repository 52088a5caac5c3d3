// How the threads of a step share its work.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace intact {

struct Span {
    std::int64_t begin, end;
    std::int64_t size() const { return end - begin; }
};

// The part of `total` that falls to a thread.
inline Span span(std::int64_t total, int thread, int threads) {
    return {total * thread / threads, total * (thread + 1) / threads};
}

// Work of which every thread takes pieces until nothing is left: first large ones, then ever smaller. Where the system
// or another virtual machine holds a thread up, the others do more. Who does what changes no bit.
class alignas(64) Share {
public:
    // The next piece of 0..total-1, empty when none is left. least: what is worth a piece of its own; pieces are
    // multiples of it. Work too small for a choice is cut into equal parts.
    Span take(std::int64_t total, std::int64_t least, int threads) {
        const std::int64_t first = 2 * threads;  // as many pieces as if all were of the first one's size
        const bool small = threads == 1 || total < 2 * first * least;
        std::int64_t begin = taken_.load(std::memory_order_relaxed), size;
        do {
            const std::int64_t left = total - begin;
            if (left <= 0) return {total, total};
            size = small ? (total + threads - 1) / threads : std::max<std::int64_t>(left / first / least, 1) * least;
            size = std::min(size, left);
        } while (!taken_.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed));
        return {begin, begin + size};
    }

private:
    std::atomic<std::int64_t> taken_{0};
};

}  // namespace intact
