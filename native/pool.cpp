#include "pool.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#if defined(__linux__)
#    include <pthread.h>
#    include <sched.h>
#endif

namespace intact {
namespace {

// A thread that waits looks again and again, then lets others run (at once back, where there are none), and sleeps in
// the end. On a busy machine looking would only keep the one it waits for from running: so it looks for longer only
// where letting others run took no time, because there were none.
constexpr int kLeastLooks = 64, kMostLooks = 1024;
constexpr int kYields = 1000;
constexpr std::chrono::nanoseconds kNobody{700};  // that a call takes at most which finds nobody else to run
constexpr std::uint32_t kGone = 1u << 30;         // barriers that a thread has come to once it has failed

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Binds thread i to the i-th of the processors that this process may use.
void pin([[maybe_unused]] std::thread& thread, [[maybe_unused]] int i) {
#if defined(__linux__)
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) == 0) return;
    int skip = i % CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || skip-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(thread.native_handle(), sizeof(one), &one);
        return;
    }
#endif
}

// Waits until arrived(value).
template <class F> void await(const std::atomic<std::uint32_t>& value, int& patience, F arrived) {
    for (int i = 0; i < patience; i++) {
        if (arrived(value.load(std::memory_order_acquire))) return;
        relax();
    }
    const auto since = std::chrono::steady_clock::now();
    for (int i = 0; i < kYields; i++) {
        if (arrived(value.load(std::memory_order_acquire))) {
            const bool alone = std::chrono::steady_clock::now() - since < kNobody * (i + 1);
            patience = alone ? std::min(2 * patience, kMostLooks) : std::max(patience / 2, kLeastLooks);
            return;
        }
        std::this_thread::yield();
    }
    patience = kLeastLooks;
    for (std::uint32_t now; !arrived(now = value.load(std::memory_order_acquire));)
        value.wait(now, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(int threads, bool pinned) : size_(threads), seats_(static_cast<std::size_t>(std::max(threads, 1))) {
    for (Seat& seat : seats_) seat.patience = kLeastLooks;
    try {
        for (int i = 1; i < threads; i++) {
            workers_.emplace_back([this, i] { work(i); });
            if (pinned) pin(workers_.back(), i);
        }
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
    generation_.fetch_add(1);
    generation_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void Pool::run(const std::function<void(int)>& region) {
    region_ = &region;
    running_.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
    generation_.fetch_add(1);
    if (size_ > 1) generation_.notify_all();
    take(0);
    int patience = kLeastLooks;
    await(running_, patience, [](std::uint32_t left) { return left == 0; });
    if (failed_.load(std::memory_order_relaxed)) rethrow();
}

void Pool::take(int thread) noexcept {
    try {
        (*region_)(thread);
    } catch (const Stopped&) {
        fail(thread, nullptr);
    } catch (...) {
        fail(thread, std::current_exception());
    }
}

// From now on nobody waits for this thread at a barrier.
void Pool::fail(int thread, std::exception_ptr error) {
    if (error && !failed_.exchange(true)) error_ = std::move(error);
    std::atomic<std::uint32_t>& phase = seats_[static_cast<std::size_t>(thread)].phase;
    phase.exchange(phase.load(std::memory_order_relaxed) + kGone);
    phase.notify_all();
}

void Pool::rethrow() {
    for (Seat& seat : seats_) seat.phase.store(0, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(error_, nullptr));
}

void Pool::barrier(int thread) {
    if (size_ == 1) return;
    std::atomic<std::uint32_t>& own = seats_[static_cast<std::size_t>(thread)].phase;
    int& patience = seats_[static_cast<std::size_t>(thread)].patience;
    const std::uint32_t phase = own.load(std::memory_order_relaxed) + 1;
    own.exchange(phase);  // as a whole before notify_all looks for who sleeps
    own.notify_all();
    for (const Seat& seat : seats_)
        await(seat.phase, patience, [&](std::uint32_t x) { return static_cast<std::int32_t>(x - phase) >= 0; });
    if (failed_.load(std::memory_order_relaxed)) throw Stopped();
}

void Pool::for_each(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
    std::atomic<std::int64_t> next{0};
    run([&](int) {
        try {
            for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) task(i);
        } catch (...) {
            next.store(tasks, std::memory_order_relaxed);
            throw;
        }
    });
}

void Pool::work(int thread) {
    std::uint32_t seen = 0;
    int patience = kLeastLooks;
    for (;;) {
        await(generation_, patience, [&](std::uint32_t now) { return now != seen; });
        seen++;
        if (stop_) return;
        take(thread);
        if (running_.fetch_sub(1) == 1) running_.notify_all();
    }
}

}  // namespace intact
