// What operating systems do differently, in one place. Each function says what it does where a system has no such
// thing.
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

// Binds a thread to the i-th of the processors that this process may use, counted around. Linux only; elsewhere
// nothing.
void bind(Thread& thread, int i);

// Sleeps until woken, unless the word has changed from value; may also return without reason.
void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value);
// Wakes all who sleep on the word.
void wake(std::atomic<std::uint32_t>& word);

// The number of this process, which a fork changes; 0 where no process can be forked.
long process();

// How often threads of this process had to give up their processor to others; 0 where the system does not count.
std::int64_t preemptions();

// Asks for huge pages. Linux only; elsewhere nothing.
void use_huge_pages(void* data, std::size_t size);

// Asks for the pages of a mapped file, which are read meanwhile. Linux only; elsewhere nothing.
void read_ahead(const std::uint8_t* data, std::size_t size);
// Says that pages of a mapped file are read here and there, so that none around them are read too. Linux only;
// elsewhere nothing.
void read_singly(const std::uint8_t* data, std::size_t size);
// Gives whole pages of a mapped file back, whose bytes are read again when they are needed; at an offset of a file that
// is not -1, from the system's cache too. Linux only; elsewhere nothing.
void drop_pages(const std::uint8_t* data, std::size_t size, int file, std::int64_t offset);

// Asks for leave to use AMX's tiles, whose state is large; false where the system gives none. Linux only.
bool use_tiles();

}  // namespace intact::system
