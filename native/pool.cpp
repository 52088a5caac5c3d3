#include "pool.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#if defined(__linux__)
#    include <linux/futex.h>
#    include <pthread.h>
#    include <sched.h>
#    include <sys/syscall.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#    include <unistd.h>
#endif

namespace intact {
namespace {

// A thread that waits looks again and again and then sleeps. While it looks, the one it waits for may want its
// processor: so it looks for longer only where that would have spared it a short sleep, and gives up sooner after a
// long one. It never yields: that costs a thread the rest of its time slice, and beside other work it would hardly run.
constexpr int kLeastLooks = 512, kMostLooks = 8192;
constexpr std::chrono::microseconds kShort{100};
constexpr std::uint32_t kGone = 1u << 30;  // barriers that a thread has come to once it has failed

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

// Sleeps until woken, unless the word has changed from value; may also return without reason.
void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
#if defined(__linux__)
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
#else
    word.wait(value, std::memory_order_acquire);
#endif
}

void wake([[maybe_unused]] std::atomic<std::uint32_t>& word) {
#if defined(__linux__)
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
#else
    word.notify_all();
#endif
}

long process() {
#if defined(__unix__) || defined(__APPLE__)
    return getpid();
#else
    return 0;
#endif
}

}  // namespace

// Waits until arrived(word).
template <class F> void Pool::await(const std::atomic<std::uint32_t>& word, int& patience, F arrived) {
    for (int i = 0; i < patience; i++) {
        if (arrived(word.load(std::memory_order_acquire))) return;
        relax();
    }
    const auto since = std::chrono::steady_clock::now();
    sleepers_.fetch_add(1);
    for (std::uint32_t now; !arrived(now = word.load(std::memory_order_acquire));) sleep(word, now);
    sleepers_.fetch_sub(1);
    const bool brief = std::chrono::steady_clock::now() - since < kShort;
    patience = brief ? std::min(2 * patience, kMostLooks) : std::max(patience / 4, kLeastLooks);
}

// After a change of the word, which is a whole operation: one that goes to sleep later sees the change.
void Pool::announce(std::atomic<std::uint32_t>& word) {
    if (sleepers_.load() > 0) wake(word);
}

Pool::Pool(int threads, bool pinned)
    : size_(threads), pinned_(pinned), process_(process()), seats_(static_cast<std::size_t>(std::max(threads, 1))) {
    start();
}

Pool::~Pool() { stop(); }

void Pool::start() {
    for (Seat& seat : seats_) {
        seat.phase = 0;
        seat.patience = kLeastLooks;
    }
    try {
        for (int i = 1; i < size_; i++) {
            workers_.emplace_back([this, i] { work(i); });
            if (pinned_) pin(workers_.back(), i);
        }
    } catch (const std::exception&) {
        const std::size_t started = workers_.size() + 1;
        end();
        throw std::invalid_argument("cannot start " + std::to_string(size_) + " threads, only " +
                                    std::to_string(started));
    }
}

void Pool::stop() { process() == process_ ? end() : leave(); }

void Pool::end() {
    stop_ = true;
    generation_.fetch_add(1);
    announce(generation_);
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    generation_ = 0;
    stop_ = false;
}

// Forgets threads that this process does not have: they can be neither joined nor detached.
void Pool::leave() {
    (void)new std::vector<std::thread>(std::move(workers_));
    workers_.clear();
    generation_ = running_ = sleepers_ = 0;
    failed_ = false;
    error_ = nullptr;
}

void Pool::run(const std::function<void(int)>& region) {
    if (size_ > 1 && process() != process_) {
        leave();
        start();
        process_ = process();
    }
    region_ = &region;
    running_.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
    generation_.fetch_add(1);
    announce(generation_);
    take(0);
    await(running_, seats_[0].patience, [](std::uint32_t left) { return left == 0; });
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
    announce(phase);
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
    own.exchange(phase);
    announce(own);
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
        if (running_.fetch_sub(1) == 1) announce(running_);
    }
}

}  // namespace intact
