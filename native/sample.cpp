#include "sample.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace intact {
namespace {

constexpr std::int64_t kLog2E = 1549082005, kLn2 = 744261118;  // Q30
constexpr std::int64_t kMillion = 1000000;

std::uint64_t uniform64(std::uint64_t key, std::int64_t position) {
    auto c0 = static_cast<std::uint32_t>(position), c1 = static_cast<std::uint32_t>(position >> 32);
    std::uint32_t c2 = 0, c3 = 0;
    auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; round++) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
        const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0,
                            n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<std::uint32_t>(p1);
        c3 = static_cast<std::uint32_t>(p0);
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    return c0 | std::uint64_t{c1} << 32;
}

std::int64_t log2_q28(std::int64_t v) {
    const int whole = 63 - __builtin_clzll(static_cast<unsigned long long>(v));
    auto mantissa = static_cast<std::uint64_t>(whole <= 31 ? v << (31 - whole) : v >> (whole - 31));
    std::int64_t result = whole;
    for (int i = 0; i < 28; i++) {
        mantissa = (mantissa * mantissa) >> 31;
        const std::uint64_t bit = mantissa >> 32;
        mantissa >>= bit;
        result = 2 * result + static_cast<std::int64_t>(bit);
    }
    return result;
}

// ceil(mass * millionths / 10^6) without overflow.
std::int64_t portion(std::int64_t mass, std::int64_t millionths) {
    return (mass / kMillion) * millionths + ((mass % kMillion) * millionths + kMillion - 1) / kMillion;
}

// Sets the weights of tokens that the filters leave out to zero; returns the mass that stays.
std::int64_t filter(const std::int32_t* logits, std::vector<std::int32_t>& weight, std::int64_t mass,
                    const Sampling& s) {
    const auto n = static_cast<std::int64_t>(weight.size());
    std::int64_t keep = s.top_k ? std::min(s.top_k, n) : n;
    const bool ranked = keep < n || s.top_p < kMillion;
    if (!ranked) {
        if (!s.min_p) return mass;
        const std::int64_t floor = portion(std::int64_t{1} << 30, s.min_p);
        mass = 0;
        for (std::int32_t& w : weight) mass += w = w >= floor ? w : 0;
        return mass;
    }
    std::vector<std::int32_t> order(weight.size());
    std::iota(order.begin(), order.end(), 0);
    const auto before = [&](std::int32_t a, std::int32_t b) {
        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    };
    if (keep < n) {
        std::nth_element(order.begin(), order.begin() + keep, order.end(), before);
        order.resize(static_cast<std::size_t>(keep));
    }
    mass = 0;
    for (const std::int32_t i : order) mass += weight[static_cast<std::size_t>(i)];
    std::vector<std::int32_t> kept(weight.size(), 0);
    const std::int64_t needed = s.top_p < kMillion ? portion(mass, s.top_p) : mass;
    const std::int64_t floor = portion(std::int64_t{1} << 30, s.min_p);
    std::int64_t total = 0;
    // Ranks are sorted in growing pieces: the needed mass is mostly in the first few.
    std::size_t sorted = 0, piece = 64;
    for (std::size_t rank = 0; rank < order.size() && (rank == 0 || s.top_p == kMillion || total < needed); rank++) {
        if (rank == sorted) {
            sorted = std::min(order.size(), sorted + piece);
            piece *= 4;
            std::partial_sort(order.begin() + static_cast<std::ptrdiff_t>(rank),
                              order.begin() + static_cast<std::ptrdiff_t>(sorted), order.end(), before);
        }
        const auto i = static_cast<std::size_t>(order[rank]);
        total += weight[i];
        if (weight[i] >= floor) kept[i] = weight[i];
    }
    weight.swap(kept);
    return std::accumulate(weight.begin(), weight.end(), std::int64_t{0});
}

}  // namespace

std::int64_t draw(const Kernels& kernel, const std::int32_t* logits, std::int64_t n, const Sampling& sampling,
                  std::uint64_t key, std::int64_t position) {
    const std::int32_t* top = std::max_element(logits, logits + n);
    if (!sampling.slope) return top - logits;
    std::vector<std::int32_t> weight(static_cast<std::size_t>(n));
    std::int64_t mass = 0;
    kernel.weights(logits, n, *top, sampling.slope, weight.data(), &mass);
    mass = filter(logits, weight, mass, sampling);
    const auto target = static_cast<std::int64_t>(
        (static_cast<unsigned __int128>(uniform64(key, position)) * static_cast<std::uint64_t>(mass)) >> 64);
    std::int64_t cumulative = 0;
    for (std::int64_t i = 0; i < n; i++) {
        cumulative += weight[static_cast<std::size_t>(i)];
        if (cumulative > target) return i;
    }
    return n - 1;  // not reached: target < mass
}

std::int64_t log_probability(const Kernels& kernel, const std::int32_t* logits, std::int64_t n, std::int64_t token) {
    const std::int32_t top = *std::max_element(logits, logits + n);
    std::vector<std::int32_t> weight(static_cast<std::size_t>(n));
    std::int64_t mass = 0;
    kernel.weights(logits, n, top, kLog2E, weight.data(), &mass);
    const std::int64_t log_mass = ((log2_q28(mass) - (std::int64_t{30} << 28)) * kLn2 + (std::int64_t{1} << 33)) >> 34;
    return -((std::int64_t{top} - logits[token]) << 8) - log_mass;
}

}  // namespace intact
