// Threads and locks of WebAssembly. This code starts no threads: JavaScript lets workers enter the module on shared
// memory (js/src/threads.js), where they wait for the task of a Thread.
#pragma once

#include <atomic>
#include <functional>

namespace intact::system {

// A worker that runs one function. Throws if no worker is waiting.
class Thread {
public:
    explicit Thread(std::function<void()> task);
    void join();

private:
    int worker_;
};

// A spin lock, because a browser's main thread must not sleep. It is held for a few instructions only.
class Mutex {
public:
    void lock();
    void unlock() { held_.clear(std::memory_order_release); }

private:
    std::atomic_flag held_;
};

// Ends the module if another of its threads has failed, because that thread's work will never be done.
void check_threads();

// Stores the first message, and ends the module with it on this thread; the others end when they next wait.
[[noreturn]] void fail(const char* message);

}  // namespace intact::system
