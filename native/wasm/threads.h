// Threads and locks of WebAssembly. It starts no thread itself: JavaScript has workers enter the module on one shared
// memory (js/src/threads.js), where they wait for what a Thread is to do.
#pragma once

#include <atomic>
#include <functional>

namespace intact::system {

// A worker that runs one function. Throws where none waits.
class Thread {
public:
    explicit Thread(std::function<void()> task);
    void join();

private:
    int worker_;
};

// Waits by looking again and again: a browser's first thread must not sleep. It is held for a few instructions.
class Mutex {
public:
    void lock();
    void unlock() { held_.clear(std::memory_order_release); }

private:
    std::atomic_flag held_;
};

// Ends the module where another of its threads has failed: what that one was to do is never done.
void check_threads();

// Keeps the first message, and ends the module with it on this thread; the others end when they next wait.
[[noreturn]] void fail(const char* message);

}  // namespace intact::system
