#include "runtime/limits.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "runtime/pool.h"
#include "runtime/weight.h"

namespace intact {
namespace {

constexpr std::int64_t kRead = std::int64_t{192} << 20;  // more than caches hold
constexpr int kRepeats = 5;

template <class F> double seconds(F f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

Limits measure_limits(const Kernels& kernels, int threads) {
    Limits limits{};
    std::uint8_t codes[1024] = {};
    std::int32_t out[16];
    std::int64_t rounds = 1000;
    for (int i = 0; i < kRepeats;) {
        std::int64_t products = 0;
        const double time = seconds([&] { products = kernels.multiply_adds(codes, rounds, out); });
        if (time < 0.002) {
            rounds *= 2;
            continue;
        }
        limits.multiply_adds = std::max(limits.multiply_adds, static_cast<double>(products) / time);
        i++;
    }
    Pool pool(threads);
    const Buffer memory(static_cast<std::size_t>(kRead));
    const std::int64_t part = kRead / threads / 256 * 256;
    pool.run([&](int thread) { std::fill_n(memory.data() + thread * part, part, std::uint8_t{1}); });
    for (int i = 0; i < kRepeats; i++) {
        const double time = seconds([&] {
            pool.run([&](int thread) {
                std::int32_t sums[16];
                kernels.read_bytes(memory.data() + thread * part, part, sums);
            });
        });
        limits.bytes = std::max(limits.bytes, static_cast<double>(part * threads) / time);
    }
    return limits;
}

}  // namespace intact
