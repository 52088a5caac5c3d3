#include "bind_pool.h"

#include <atomic>
#include <new>
#include <stdexcept>
#include <vector>

#include "pool.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace intact {
namespace {

// Regions one after the other whose threads meet so often; in region `failing` a thread runs out of memory after
// `after` meetings. Returns how often a thread came from a barrier before another had come to it.
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

}  // namespace

void bind_pool(nb::module_& m) {
    m.def("meet", &meet, "threads"_a, "regions"_a, "meetings"_a, "failing"_a = -1, "thread"_a = 0, "after"_a = 0,
          "catching"_a = false, "pinned"_a = false);
}

}  // namespace intact
