#include "system.h"

#if defined(__linux__)
#    include <fcntl.h>
#    include <linux/futex.h>
#    include <pthread.h>
#    include <sched.h>
#    include <sys/mman.h>
#    include <sys/syscall.h>

#    include <limits>
#endif
#if defined(__unix__) || defined(__APPLE__)
#    include <sys/resource.h>
#    include <unistd.h>
#endif

namespace intact::system {

#if defined(__linux__)

void bind(Thread& thread, int i) {
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
}

void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(std::atomic<std::uint32_t>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
}

void use_huge_pages(void* data, std::size_t size) {
#    if defined(MADV_HUGEPAGE)
    (void)::madvise(data, size, MADV_HUGEPAGE);
#    else
    (void)data, (void)size;
#    endif
}

void read_ahead(const std::uint8_t* data, std::size_t size) {
    (void)::madvise(const_cast<std::uint8_t*>(data), size, MADV_WILLNEED);
}

void read_singly(const std::uint8_t* data, std::size_t size) {
    (void)::madvise(const_cast<std::uint8_t*>(data), size, MADV_RANDOM);
}

void drop_pages(const std::uint8_t* data, std::size_t size, int file, std::int64_t offset) {
    (void)::madvise(const_cast<std::uint8_t*>(data), size, MADV_DONTNEED);
    if (file >= 0) (void)::posix_fadvise(file, offset, static_cast<off_t>(size), POSIX_FADV_DONTNEED);
}

bool use_tiles() {
#    if defined(__x86_64__)
    constexpr long kRequest = 0x1023, kTileData = 18;
    static const bool may = ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
    return may;
#    else
    return false;
#    endif
}

#else

void bind(Thread&, int) {}
#    if !defined(__wasm__)  // those are in wasm/threads.cpp
void sleep(const std::atomic<std::uint32_t>& word, std::uint32_t value) { word.wait(value, std::memory_order_acquire); }
void wake(std::atomic<std::uint32_t>& word) { word.notify_all(); }
#    endif
void use_huge_pages(void*, std::size_t) {}
void read_ahead(const std::uint8_t*, std::size_t) {}
void read_singly(const std::uint8_t*, std::size_t) {}
void drop_pages(const std::uint8_t*, std::size_t, int, std::int64_t) {}
bool use_tiles() { return false; }

#endif

#if defined(__unix__) || defined(__APPLE__)

long process() { return getpid(); }

std::int64_t preemptions() {
    rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

#else

long process() { return 0; }
std::int64_t preemptions() { return 0; }

#endif

}  // namespace intact::system
