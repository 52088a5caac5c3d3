// A program and its weights, and the step that runs it (the native executor).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fp32.h"
#include "kernels.h"
#include "pool.h"
#include "weight.h"

namespace intact {

enum class Profile { kInt8, kFp32 };

// A matrix in the profile's form: integer panels, or the checkpoint's own bytes (kept alive by the caller).
struct MatrixWeight {
    Weight packed;
    Matrix matrix{};       // pointers into packed
    FloatWeight floats{};
};

struct NormGain {
    std::vector<std::int32_t> factor;
    int exponent = 0;
    std::int64_t epsilon = 0;
    std::vector<float> values;  // fp32 profile
    float float_epsilon = 0;
};

struct Rotation {
    std::vector<std::uint64_t> turns;
};

struct BufferSpec {
    std::int64_t width;
    bool wide;  // int64 in Q20, else int32
};

struct LinearTarget {
    int buffer;
    int weight;
    int bias;  // or -1
    bool accumulate;
};

struct Op {
    enum Kind { kEmbed, kNorm, kLinear, kRope, kAttend, kGate, kLogits };
    Kind kind;
    int source = -1, second = -1, third = -1, target = -1;
    int weight = -1;        // weight, gain or rotation
    int heads = 0, kv_heads = 0, layer = 0;
    std::int64_t width = 0; // of a head
    bool accumulate = false, interleaved = false, gelu = false;
    std::int64_t window = 0;
    QueryScale scale{};
    float float_scale = 0;
    std::int64_t multiplier = 0;  // embed: Q24
    std::vector<LinearTarget> targets;
};

// Consecutive tokens of one sequence.
struct Chunk {
    std::int64_t position;  // of the first
    std::int64_t count;
    std::vector<std::uint8_t*> pages;
};

// What the last steps did: proofs for tests that a setting took effect.
struct Counters {
    std::int64_t steps = 0, rows = 0, largest_step = 0, chunks = 0;
};

class Model {
public:
    Model(Profile profile, const std::string& tier, int threads, int layers, int kv_heads, std::int64_t head_width,
          std::int64_t page_size);

    int add_buffer(std::int64_t width, bool wide);
    void add_op(Op op);

    // Page numbers are stable; memory grows as pages are added.
    void reserve_pages(std::int64_t count);
    void copy_page(std::int64_t from, std::int64_t to);

    // Runs the program over all rows of the chunks; logits (or, profile fp32, floats) of the rows in `wanted`.
    void step(const std::int32_t* tokens, std::int64_t rows, std::vector<Chunk>& chunks, const std::int64_t* wanted,
              std::int64_t wanted_count, std::int32_t* logits);

    std::int64_t vocabulary() const;  // tokens that the embedding knows
    std::int64_t outputs() const;     // logits of a row
    std::int64_t page_bytes() const;
    std::int64_t weight_bytes() const;

    const Profile profile;
    const Kernels* const kernel;
    const Fp32Kernels* const float_kernel;
    Pool pool;
    std::vector<std::unique_ptr<MatrixWeight>> weights;
    std::vector<NormGain> gains;
    std::vector<std::vector<std::int64_t>> biases;
    std::vector<std::vector<float>> float_biases;
    std::vector<Rotation> rotations;
    std::vector<Buffer> pages;
    Counters counters;
    const int layers, kv_heads;
    const std::int64_t head_width, depth, page_size;

private:
    struct Step;
    void run_int8(Step& step, int thread);
    void run_fp32(Step& step, int thread);
    HeadCache head_cache(int layer, int head) const;

    std::vector<BufferSpec> buffers_;
    std::vector<Op> ops_;
    std::vector<Buffer> memory_;    // of buffers_
    Buffer quantized_;
    std::vector<Buffer> scratch_;   // one a thread
};

}  // namespace intact
