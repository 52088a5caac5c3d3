// The core without Python, tried where there is no Python to load it: threads, memory, the choice of tiers, and a
// matrix product of both profiles by each tier that this processor can run. Prints the tiers and a digest of the
// numbers, which is the same on every system and processor; exits with 1 where a tier computes something else.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "formats/convert.h"
#include "runtime/pool.h"
#include "runtime/sample.h"
#include "runtime/view.h"
#include "tiers/tiers.h"

namespace {

using namespace intact;

constexpr std::int64_t kRows = 40, kColumns = 288, kTokens = 5, kVocabulary = 5000;

void demand(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
}

// Integers that look random and are the same everywhere (Steele and others' SplitMix64).
class Numbers {
public:
    std::int64_t below(std::int64_t bound) {
        std::uint64_t x = (state_ += 0x9e3779b97f4a7c15);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
        x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
        return static_cast<std::int64_t>(((x ^ (x >> 31)) >> 16) % static_cast<std::uint64_t>(bound));
    }

private:
    std::uint64_t state_ = 1;
};

class Digest {  // FNV-1a
public:
    template <class T> void add(const std::vector<T>& values) {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(values.data());
        for (std::size_t i = 0; i < values.size() * sizeof(T); i++) value_ = (value_ ^ bytes[i]) * 0x100000001b3;
    }
    unsigned long long value() const { return value_; }
    bool operator==(const Digest&) const = default;

private:
    std::uint64_t value_ = 0xcbf29ce484222325;
};

void check_pool() {
    Pool pool(3, true);
    for (int round = 0; round < 200; round++) {
        std::vector<int> seen(3), sums(3);
        pool.run([&](int thread) {
            seen[static_cast<std::size_t>(thread)] = thread + round;
            pool.barrier(thread);
            for (const int one : seen) sums[static_cast<std::size_t>(thread)] += one;
        });
        for (const int sum : sums) demand(sum == 3 + 3 * round, "a barrier let a thread through too early");
    }
    bool raised = false;
    try {
        pool.for_each(100, [](std::int64_t i) { demand(i != 50, "50"); });
    } catch (const std::runtime_error& error) {
        raised = std::string(error.what()) == "50";
    }
    demand(raised, "an error of a thread did not arrive");
}

std::vector<std::int32_t> multiply(const Kernels& kernels, const Weight& weight, const std::vector<std::int64_t>& x) {
    const std::int64_t blocks = weight.blocks(), stride = blocks * 32 + 64, minima = blocks + blocks % 2;
    const auto size = [](std::int64_t each) { return static_cast<std::size_t>(kTokens * each); };
    std::vector<std::int8_t> codes(size(stride));
    std::vector<std::int32_t> scale(size(blocks)), sums(size(2 * blocks)), exponent(size(1)), exponent32(size(1)),
        exponent16(size(1)), scratch_minima(size(2 * blocks));
    std::vector<std::int16_t> minima32(size(minima)), minima16(size(2 * minima));
    const Activations rows{blocks,
                           stride,
                           codes.data(),
                           scale.data(),
                           sums.data(),
                           exponent.data(),
                           minima32.data(),
                           minima16.data(),
                           exponent32.data(),
                           exponent16.data(),
                           minima,
                           scratch_minima.data(),
                           false,
                           false};
    for (std::int64_t m = 0; m < kTokens; m++) kernels.quantize_wide(x.data() + m * kColumns, kColumns, 20, rows, m);
    std::vector<std::int32_t> out(size(kRows));
    const Buffer scratch(static_cast<std::size_t>(4 * matmul_scratch(blocks, kernels.row_bytes)));
    kernels.matmul(view(weight), rows, 0, kTokens, 0, weight.panels(), {16, out.data(), nullptr, false, kRows, nullptr},
                   reinterpret_cast<std::int32_t*>(scratch.data()), false);
    return out;
}

// All that a tier computes here, from the same numbers for each.
Digest compute(const Tier& tier) {
    Digest digest;
    Numbers numbers;
    const auto format = find_format("F32");
    std::vector<float> weights(kRows * kColumns);
    for (float& one : weights) one = static_cast<float>(numbers.below(1 << 20) - (1 << 19)) / (1 << 22);
    std::vector<std::int64_t> x(kTokens * kColumns);
    for (std::int64_t& one : x) one = numbers.below(std::int64_t{1} << 33) - (std::int64_t{1} << 32);
    const auto* const source = reinterpret_cast<const std::uint8_t*>(weights.data());
    const ParallelFor in_order = [](std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
        for (std::int64_t i = 0; i < tasks; i++) task(i);
    };
    for (const int bits : {8, 4}) {
        const Converted converted = convert(*format, source, kRows, kColumns, bits, in_order);
        demand(!converted.error, "a finite weight was refused");
        digest.add(multiply(tier.kernels(), converted.weight, x));
    }
    std::vector<float> y(kTokens * kRows), values(kTokens * kColumns);
    for (std::size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(x[i]) / 4294967296.0f;
    tier.fp32.linear({format->kind, kRows, kColumns, source, nullptr}, values.data(), kTokens, kColumns, y.data(),
                     kRows, 0, kRows);
    digest.add(y);
    std::vector<std::int32_t> logits(kVocabulary);
    for (std::int32_t& one : logits) one = static_cast<std::int32_t>(numbers.below(20 << 16));
    const Row row = read_row(tier.kernels(), logits.data(), kVocabulary);
    std::vector<std::int64_t> drawn;
    for (std::int64_t position = 0; position < 100; position++) {
        const Draw made{{std::int64_t{1} << 32, 0, 0, 0, 0}, 7, position, nullptr, nullptr};
        drawn.push_back(draw(tier.kernels(), row, made));
        drawn.push_back(log_probability(row, drawn.back()));
    }
    digest.add(drawn);
    return digest;
}

}  // namespace

int main() {
    try {
        check_pool();
        const Digest wanted = compute(find_tier("scalar"));
        for (const Tier& tier : available_tiers()) {
            demand(compute(tier) == wanted, "tier " + std::string(tier.name) + " differs from scalar");
            std::printf("%s ", std::string(tier.name).c_str());
        }
        std::printf("%016llx\n", wanted.value());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "core: %s\n", error.what());
        return 1;
    }
}
