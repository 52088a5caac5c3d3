// Threads of WebAssembly: the workers that JavaScript has started, and memory allocation for several threads.
//
// A worker calls intact_thread and stays in it. Exceptions cannot be caught here (fail.cpp): if a thread fails, its
// message is stored, and every other thread fails with it as soon as it waits, since what it waits for may never
// happen.
#include "wasm/threads.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <utility>

#include "system.h"
#include "wasm/fail.h"

namespace intact::system {
namespace {

constexpr int kMost = 64;                              // workers; js/src/threads.js asks for fewer
constexpr std::int64_t kLookNanoseconds = 1000000000;  // how often one that sleeps looks if another has failed

enum State : std::uint32_t { kAbsent, kWaiting, kTaken, kWorking };

struct Worker {
    std::atomic<std::uint32_t> state{kAbsent};
    std::function<void()> task;
};
std::array<Worker, kMost> workers;
std::atomic<const char*> failure{nullptr};
Mutex memory;

void* allocate(std::size_t size, std::size_t alignment) {
    memory.lock();
    void* const got = alignment <= alignof(std::max_align_t)
                          ? std::malloc(std::max<std::size_t>(size, 1))
                          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    memory.unlock();
    if (got == nullptr) fail("memory ran out");
    return got;
}

void release(void* data) {
    memory.lock();
    std::free(data);
    memory.unlock();
}

}  // namespace

void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
    auto* at = reinterpret_cast<int*>(const_cast<std::atomic<std::uint32_t>*>(&word));
    __builtin_wasm_memory_atomic_wait32(at, static_cast<int>(value), kLookNanoseconds);
    check_threads();
}

void wake(std::atomic<std::uint32_t>& word) { __builtin_wasm_memory_atomic_notify(reinterpret_cast<int*>(&word), ~0u); }

void check_threads() {
    if (const char* message = failure.load()) intact_fail(message);
}

void fail(const char* message) {
    const char* first = nullptr;
    if (!failure.compare_exchange_strong(first, message)) message = first;
    intact_fail(message);
}

void Mutex::lock() {
    while (held_.test_and_set(std::memory_order_acquire)) check_threads();
}

Thread::Thread(std::function<void()> task) : worker_(0) {
    for (Worker& worker : workers) {
        std::uint32_t state = kWaiting;
        if (worker.state.compare_exchange_strong(state, kTaken)) {
            worker.task = std::move(task);
            worker.state = kWorking;
            wake(worker.state);
            return;
        }
        worker_++;
    }
    throw std::runtime_error("there are no more threads than JavaScript has started");
}

void Thread::join() {
    const std::atomic<std::uint32_t>& state = workers[static_cast<std::size_t>(worker_)].state;
    while (state.load() == kWorking) sleep(state, kWorking);
}

// Announces that `count` workers are about to call intact_thread.
extern "C" __attribute__((export_name("intact_threads"))) void intact_threads(int count) {
    for (int i = 0; i < std::min(count, kMost); i++) workers[static_cast<std::size_t>(i)].state = kWaiting;
}

// Number of workers with work, which are those of live models.
extern "C" __attribute__((export_name("intact_threads_working"))) int intact_threads_working() {
    return static_cast<int>(
        std::count_if(workers.begin(), workers.end(), [](const Worker& worker) { return worker.state == kWorking; }));
}

// Runs worker i, and never returns.
extern "C" __attribute__((export_name("intact_thread"))) void intact_thread(int i) {
    Worker& own = workers.at(static_cast<std::size_t>(i));
    for (;;) {
        for (std::uint32_t state; (state = own.state.load()) != kWorking;) sleep(own.state, state);
        std::exchange(own.task, nullptr)();
        own.state = kWaiting;
        wake(own.state);
    }
}

// Ends every thread of the module with an error as soon as it waits, because JavaScript closes the module or a worker
// has trapped. An earlier error is kept.
extern "C" __attribute__((export_name("intact_threads_end"))) void intact_threads_end(int is_closed) {
    const char* none = nullptr;
    failure.compare_exchange_strong(
        none, is_closed != 0 ? "it was closed" : "memory ran out, or a thread found itself wrong");
    for (Worker& worker : workers) wake(worker.state);
}

}  // namespace intact::system

// The C library's allocator is single-threaded. Large alignments, meant for huge pages, are useless here.
constexpr std::size_t kLine = 64;

void* operator new(std::size_t size) { return intact::system::allocate(size, 0); }
void* operator new[](std::size_t size) { return intact::system::allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return intact::system::allocate(size, std::min(static_cast<std::size_t>(alignment), kLine));
}
void* operator new[](std::size_t size, std::align_val_t alignment) { return operator new(size, alignment); }
void operator delete(void* data) noexcept { intact::system::release(data); }
void operator delete[](void* data) noexcept { intact::system::release(data); }
void operator delete(void* data, std::size_t) noexcept { intact::system::release(data); }
void operator delete[](void* data, std::size_t) noexcept { intact::system::release(data); }
void operator delete(void* data, std::align_val_t) noexcept { intact::system::release(data); }
void operator delete[](void* data, std::align_val_t) noexcept { intact::system::release(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { intact::system::release(data); }
void operator delete[](void* data, std::size_t, std::align_val_t) noexcept { intact::system::release(data); }
