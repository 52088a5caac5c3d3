// Operating system differences, in one place. Each function documents its behaviour on systems that lack the feature.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <thread>

#if defined(__wasm__)
#    include "wasm/threads.h"
#endif

namespace intact::system {

#if !defined(__wasm__)
using Thread = std::thread;
using Mutex = std::mutex;
#endif

// Binds a thread to the i-th processor available to this process, modulo their number. Linux only; does nothing
// elsewhere.
void bind(Thread& thread, int i);

// Sleeps until woken, unless the word has changed from value; may also return spuriously.
void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value);
// Wakes all threads that sleep on the word.
void wake(std::atomic<std::uint32_t>& word);

// The id of this process, which a fork changes; 0 on systems without fork.
long process();

// Number of times that threads of this process have been preempted; 0 if the system does not count them.
std::int64_t preemptions();

// Requests huge pages. Linux only; does nothing elsewhere.
void use_huge_pages(void* data, std::size_t size);

// Requests pages of a mapped file, which are then read in the background. Linux only; does nothing elsewhere.
void read_ahead(const std::uint8_t* data, std::size_t size);
// Declares that pages of a mapped file are read in random order, which disables readahead. Linux only; does nothing
// elsewhere.
void read_singly(const std::uint8_t* data, std::size_t size);
// Releases whole pages of a mapped file, whose bytes are read again when needed; if `file` is not -1, also from the
// system's cache, at an offset of this file. Linux only; does nothing elsewhere.
void drop_pages(const std::uint8_t* data, std::size_t size, int file, std::int64_t offset);

// Requests permission to use AMX tiles, whose state is large; returns false if the system refuses. Linux only.
bool use_tiles();

}  // namespace intact::system
