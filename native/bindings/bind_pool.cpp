#include "bindings/bind_pool.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "runtime/pool.h"
#include "runtime/share.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

// Runs regions in succession, in each of which the threads meet `meetings` times; in region `failing` a thread runs out
// of memory after `after` meetings. Returns how often a thread left a barrier before another had reached it.
std::int64_t meet(int threads, int regions, int meetings, int failing, int thread, int after, bool catching,
                  bool pinned) {
    if (threads < 1 || threads > 64) throw std::invalid_argument("threads must lie in 1..64");
    const nb::gil_scoped_release release;
    Pool pool(threads, pinned);
    std::atomic<std::int64_t> early{0};
    for (int region = 0; region < regions; region++) {
        std::vector<std::atomic<int>> came(static_cast<std::size_t>(threads));
        try {
            pool.run([&](int own) {
                for (int i = 1; i <= meetings; i++) {
                    if (region == failing && own == thread && i > after) throw std::bad_alloc();
                    came[static_cast<std::size_t>(own)].store(i, std::memory_order_relaxed);
                    pool.barrier(own);
                    for (const auto& other : came) early += other.load(std::memory_order_relaxed) < i;
                }
            });
            if (region == failing) throw std::logic_error("the failure was lost");
        } catch (const std::bad_alloc&) {
            if (!catching) throw;
        }
    }
    return early;
}

// The pieces of a shared task that each thread took, as (begin, end); thread `held` arrives when nothing is left.
std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> pieces(int threads, std::int64_t total,
                                                                       std::int64_t least, int held) {
    if (threads < 1 || threads > 64) throw std::invalid_argument("threads must lie in 1..64");
    if (least < 1) throw std::invalid_argument("least must be at least 1");
    std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> taken(static_cast<std::size_t>(threads));
    const nb::gil_scoped_release release;
    std::vector<Share::Taken> ranges(static_cast<std::size_t>(threads));
    Share share(ranges.data(), threads);
    Pool pool(threads);
    pool.run([&](int own) {
        if (own == held) pool.barrier(own);
        auto& mine = taken[static_cast<std::size_t>(own)];
        for (Span piece; (piece = share.take(own, total, least)).size() > 0;) mine.emplace_back(piece.begin, piece.end);
        if (own != held && held >= 0) pool.barrier(own);
    });
    return taken;
}

}  // namespace

void bind_pool(nb::module_& m) {
    m.def("meet", &meet, "threads"_a, "regions"_a, "meetings"_a, "failing"_a = -1, "thread"_a = 0, "after"_a = 0,
          "catching"_a = false, "pinned"_a = false);
    m.def("pieces", &pieces, "threads"_a, "total"_a, "least"_a, "held"_a = -1);
}

}  // namespace intact
