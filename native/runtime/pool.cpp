#include "runtime/pool.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "system.h"

namespace intact {
namespace {

// A waiting thread polls for a while and then sleeps. Waking up takes a tenth of a millisecond or more on a virtual
// machine, as long as several operations; but while it polls, other threads may want its processor, even the thread
// that it waits for. If they do, the system takes processors away from this process hundreds of times per second, or
// threads poll in vain for much of the time. Therefore every eight milliseconds double the threads' patience, and each
// preemption halves it, as does polling in vain for a tenth of that time. They never yield: that would cost a thread
// the rest of its time slice, and next to other work it would hardly run.
constexpr double kLeastPatience = 8e3, kMostPatience = 1e6, kAdaptEvery = 1e6;  // nanoseconds
constexpr double kDoubled = 8e6, kHalved = 8e5;  // likewise: of all time, of that in vain
constexpr int kLooks = 64;                       // per look at the clock
constexpr std::uint32_t kGone = 1u << 30;        // barriers that a thread has come to once it has failed

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

}  // namespace

// Waits until arrived(word) is true.
template <class F> void Pool::await(const std::atomic<std::uint32_t>& word, F arrived) {
    const auto look = [&] {
        for (int i = 0; i < kLooks; i++) {
            if (arrived(word.load(std::memory_order_acquire))) return true;
            relax();
        }
        return false;
    };
    if (look()) return;
    const std::chrono::nanoseconds patience{patience_.load(std::memory_order_relaxed)};
    for (const auto since = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - since < patience;)
        if (look()) return;
    vain_.fetch_add(patience.count(), std::memory_order_relaxed);
    sleepers_.fetch_add(1);
    for (std::uint32_t now; !arrived(now = word.load(std::memory_order_acquire));) system::sleep(word, now);
    sleepers_.fetch_sub(1);
}

// Must follow a change of the word by a sequentially consistent operation: a thread that goes to sleep later sees the
// change.
void Pool::announce(std::atomic<std::uint32_t>& word) {
    if (sleepers_.load() > 0) system::wake(word);
}

Pool::Pool(int threads, bool pinned)
    : size_(threads),
      pinned_(pinned),
      process_(system::process()),
      seats_(static_cast<std::size_t>(std::max(threads, 1))),
      patience_(static_cast<std::int64_t>(kLeastPatience)) {
    start();
}

Pool::~Pool() { stop(); }

void Pool::start() {
    for (Seat& seat : seats_) seat.phase = 0;
    try {
        for (int i = 1; i < size_; i++) {
            workers_.emplace_back([this, i] { work(i); });
            if (pinned_) system::bind(workers_.back(), i);
        }
    } catch (const std::exception&) {
        const std::size_t started = workers_.size() + 1;
        end();
        throw std::invalid_argument("cannot start " + std::to_string(size_) + " threads, only " +
                                    std::to_string(started));
    }
}

void Pool::stop() { system::process() == process_ ? end() : leave(); }

void Pool::end() {
    stop_ = true;
    generation_.fetch_add(1);
    announce(generation_);
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    generation_ = 0;
    stop_ = false;
}

// Abandons threads that do not exist in this process: they can be neither joined nor detached.
void Pool::leave() {
    (void)new std::vector<system::Thread>(std::move(workers_));
    workers_.clear();
    generation_ = running_ = sleepers_ = 0;
    failed_ = false;
    error_ = nullptr;
}

void Pool::run(const std::function<void(int)>& region) {
    if (size_ > 1 && system::process() != process_) {
        leave();
        start();
        process_ = system::process();
    }
    region_ = &region;
    running_.store(static_cast<std::uint32_t>(size_ - 1), std::memory_order_relaxed);
    generation_.fetch_add(1);
    announce(generation_);
    take(0);
    await(running_, [](std::uint32_t left) { return left == 0; });
    adapt_patience();
    if (failed_.load(std::memory_order_relaxed)) rethrow();
}

// Adapts the threads' patience to the waiting times since the last adaptation, at most once per millisecond.
void Pool::adapt_patience() {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double, std::nano>(now - adapted_).count();
    if (size_ == 1 || passed < kAdaptEvery) return;
    adapted_ = now;
    const std::int64_t preempted = system::preemptions(), times = preempted - std::exchange(preempted_, preempted);
    const double vain = static_cast<double>(vain_.exchange(0)) / (size_ - 1);
    const double doublings = std::clamp(passed / kDoubled - vain / kHalved - static_cast<double>(times), -20.0, 20.0);
    const double patience = static_cast<double>(patience_.load()) * std::exp2(doublings);
    patience_ = static_cast<std::int64_t>(std::clamp(patience, kLeastPatience, kMostPatience));
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

// From now on no thread waits for this one at a barrier.
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
    const std::uint32_t phase = own.load(std::memory_order_relaxed) + 1;
    own.exchange(phase);
    announce(own);
    for (const Seat& seat : seats_)
        await(seat.phase, [&](std::uint32_t x) { return static_cast<std::int32_t>(x - phase) >= 0; });
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
    for (;;) {
        await(generation_, [&](std::uint32_t now) { return now != seen; });
        seen++;
        if (stop_) return;
        take(thread);
        if (running_.fetch_sub(1) == 1) announce(running_);
    }
}

}  // namespace intact
