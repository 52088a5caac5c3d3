// A persistent pool of threads. A region runs on all of them, the caller included, and may meet at barriers.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace intact {

class Pool {
public:
    explicit Pool(int threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int size() const { return size_; }

    // Runs region(thread) for thread in 0..size()-1 and waits for all. A region that throws ends the process: the other
    // threads may wait for it at a barrier.
    void run(const std::function<void(int)>& region) noexcept;
    // Inside a region: waits until every thread has arrived.
    void barrier();
    // Runs task(i) for i in 0..tasks-1, taken one at a time; an error of one ends the rest and is
    // thrown here. Not for use inside a region.
    void for_each(std::int64_t tasks, const std::function<void(std::int64_t)>& task);

private:
    void work(int thread);
    void stop();

    const int size_;
    std::vector<std::thread> workers_;
    const std::function<void(int)>* region_ = nullptr;
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<int> running_{0};
    std::atomic<int> arrived_{0};
    std::atomic<std::uint32_t> phase_{0};
    bool stop_ = false;
};

}  // namespace intact
