// A persistent pool of threads. A region runs on all of them, including the caller, and may use barriers.
// A forked process has only the thread that called fork; the next region there starts new threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "system.h"

namespace intact {

class Pool {
public:
    // pinned: each thread except the caller's stays on its own processor, where the system allows it.
    explicit Pool(int threads, bool pinned = false);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int size() const { return size_; }

    // Runs region(thread) for thread in 0..size()-1 and waits for all. If one throws, the others end at their next
    // barrier, and the first error is rethrown here.
    void run(const std::function<void(int)>& region);
    // Inside a region: waits until every thread has arrived.
    void barrier(int thread);
    // Runs task(i) for i in 0..tasks-1, taken one at a time. An error in one task cancels the remaining ones and is
    // rethrown here. Must not be called inside a region.
    void for_each(std::int64_t tasks, const std::function<void(std::int64_t)>& task);

private:
    // The state that one thread writes and the others watch, in its own cache line.
    struct alignas(64) Seat {
        std::atomic<std::uint32_t> phase{0};  // barriers that it has come to
    };
    struct Stopped {};  // thrown by a barrier when another thread has failed

    template <class F> void await(const std::atomic<std::uint32_t>& word, F arrived);
    void announce(std::atomic<std::uint32_t>& word);
    void start();
    void end();
    void leave();
    void work(int thread);
    void take(int thread) noexcept;
    void stop();
    void fail(int thread, std::exception_ptr error);
    void rethrow();
    void adapt_patience();

    const int size_;
    const bool pinned_;
    long process_;  // whose threads these are
    std::vector<Seat> seats_;
    std::vector<system::Thread> workers_;
    const std::function<void(int)>* region_ = nullptr;
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<std::uint32_t> running_{0};
    std::atomic<std::uint32_t> sleepers_{0};           // threads that sleep, or are about to
    std::atomic<std::int64_t> patience_;               // nanoseconds for which a thread looks before it sleeps
    std::atomic<std::int64_t> vain_{0};                // nanoseconds looked in vain since patience was last adapted,
    std::chrono::steady_clock::time_point adapted_{};  // which was then,
    std::int64_t preempted_ = 0;                       // and how often the process had been preempted until then
    std::atomic<bool> failed_{false};
    std::exception_ptr error_;
    bool stop_ = false;
};

}  // namespace intact
