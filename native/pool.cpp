#include "pool.h"

#include <exception>
#include <stdexcept>
#include <string>

namespace intact {
namespace {

// A thread that waits spins for a microsecond or so, then lets others run (at once back, where there are none), and
// sleeps in the end: on a busy machine spinning would only keep the one it waits for from running.
constexpr int kSpins = 100;
constexpr int kYields = 1000;

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Spins, then sleeps, until the value differs from `old`.
template <class T> void await_change(const std::atomic<T>& value, T old) {
    for (int i = 0; i < kSpins; i++) {
        if (value.load(std::memory_order_acquire) != old) return;
        relax();
    }
    for (int i = 0; i < kYields; i++) {
        if (value.load(std::memory_order_acquire) != old) return;
        std::this_thread::yield();
    }
    while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(int threads) : size_(threads) {
    try {
        for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
    } catch (const std::exception&) {
        const std::size_t started = workers_.size() + 1;
        stop();
        throw std::invalid_argument("cannot start " + std::to_string(threads) + " threads, only " +
                                    std::to_string(started));
    }
}

Pool::~Pool() { stop(); }

void Pool::stop() {
    stop_ = true;
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void Pool::run(const std::function<void(int)>& region) noexcept {
    region_ = &region;
    running_.store(size_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    if (size_ > 1) generation_.notify_all();
    region(0);
    for (int left; (left = running_.load(std::memory_order_acquire)) != 0;) await_change(running_, left);
}

void Pool::barrier() {
    if (size_ == 1) return;
    const std::uint32_t phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.fetch_add(1, std::memory_order_release);
        phase_.notify_all();
    } else {
        await_change(phase_, phase);
    }
}

void Pool::for_each(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
    std::atomic<std::int64_t> next{0};
    std::exception_ptr error;
    std::atomic_flag failed;
    run([&](int) {
        try {
            for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) task(i);
        } catch (...) {
            next.store(tasks, std::memory_order_relaxed);
            if (!failed.test_and_set()) error = std::current_exception();
        }
    });
    if (error) std::rethrow_exception(error);
}

void Pool::work(int thread) {
    std::uint32_t seen = 0;
    for (;;) {
        await_change(generation_, seen);
        seen++;
        if (stop_) return;
        (*region_)(thread);
        if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
    }
}

}  // namespace intact
