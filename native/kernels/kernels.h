// The interface of a tier: a table of kernels over plain data. docs/spec/numerics.md defines every number they produce.
//
// This header has only plain structs without member functions: the linker must not keep a copy of an inline function
// that a tier's unit compiled for its wider instruction set.
#pragma once

#include <cstdint>

#include "kernels/gates.h"

namespace intact {

// Quantised rows (section 3). Row m starts at codes + m * stride, scale + m * blocks and so on.
struct Activations {
    std::int64_t blocks;  // of 32 inputs
    std::int64_t stride;  // bytes between rows of codes
    std::int8_t* codes;
    std::int32_t* scale;         // [m][blocks]
    std::int32_t* half_sums;     // [m][blocks][2]: sums of 16 codes
    std::int32_t* exponent;      // [m]
    std::int16_t* minima32;      // [m][minima_stride]: scaled sums of 32, zero padded
    std::int16_t* minima16;      // [m][2 * minima_stride]: of 16
    std::int32_t* minima32_exp;  // [m]
    std::int32_t* minima16_exp;  // [m]
    std::int64_t minima_stride;
    std::int32_t* minima_scratch;       // [m][blocks][2]
    bool skip_minima32, skip_minima16;  // where no matrix will ask for them
};

// Scales or minima (BlockNumbers of weight.h), as pointers.
struct Factored {
    const std::int16_t* plain;   // [panel][pairs][16][2], 0 beyond an odd last block; null: fine times coarse
    const std::int8_t* fine;     // [panel][pairs][16][2]; null: all 1
    const std::int16_t* coarse;  // [panel][runs][16]
    int span;                    // log2 of the pairs of a run
    std::int64_t runs;
};

// An integer matrix (weight.h), as pointers.
struct Matrix {
    std::int64_t rows, blocks;  // outputs; blocks of 32 inputs
    int bits, block, zero, shift;
    bool has_table, has_min;
    const std::uint8_t* codes;  // [panel][blocks][bits * 64]
    Factored scales, minima;
    const std::int32_t* scale_exp;
    const std::int32_t* minimum_exp;
    std::int64_t pairs;              // of blocks that own a scale
    const std::uint8_t* table;       // the low bytes of 256 entries; null: the identity
    const std::uint8_t* table_high;  // their high bytes; null where all are 0
    bool signed_bytes;               // whether all T[code] - zero lie in -128..127
    std::int32_t scale_exp_low, scale_exp_high, minimum_exp_low, minimum_exp_high;  // over all outputs
};

// Destination of a matrix product's results.
struct Output {
    int fraction;
    std::int32_t* narrow;  // saturated, or
    std::int64_t* wide;    // set, or added to where `accumulate`
    bool accumulate;
    std::int64_t stride;       // elements between rows
    const std::int64_t* bias;  // [rows] with `fraction` fraction bits, or null
    std::int64_t first = 0;    // element where output 0 of row 0 goes, or would go
};

// The grid and the scales of rows that enter products (numerics/activations.py).
struct Scheme {
    std::int32_t largest;       // code
    int step_bits, mantissa;    // a code is 2^step_bits times a level, a level has so many significant bits
    bool power, whole_row;      // scales are powers of two; one scale for a row
    std::int64_t outliers = 0;  // blocks of outliers, in which a row ends three times: last what the first codes leave
};

// The rule that selects the inputs of a product to keep (numerics/sparsity.py).
struct Sparsity {
    std::int64_t keep;          // inputs of a row
    const std::int32_t* norms;  // of the columns, or null: all alike
    bool random;
};

// The kinds of matrices whose codes a product reads directly: bits, inputs that share a scale, and whether there is a
// table of bytes. Other tables have separate products, for every number of bits and either block. The kinds are
// compiled in three parts (tiers/products.inl). Most files consist of the kinds of the first two; those of the third
// are rare and have fewer tile shapes.
#define INTACT_KINDS_1(KIND) \
    KIND(4, 32, false)       \
    KIND(4, 32, true)        \
    KIND(8, 32, false)
#define INTACT_KINDS_2(KIND) \
    KIND(5, 32, false)       \
    KIND(6, 32, false)       \
    KIND(6, 16, false)
#define INTACT_KINDS_3(KIND) \
    KIND(4, 16, true)        \
    KIND(3, 32, true)        \
    KIND(3, 16, true)        \
    KIND(4, 16, false)       \
    KIND(3, 32, false)       \
    KIND(3, 16, false)       \
    KIND(2, 32, false)       \
    KIND(2, 16, false)
#define INTACT_KINDS(KIND) INTACT_KINDS_1(KIND) INTACT_KINDS_2(KIND) INTACT_KINDS_3(KIND)

struct Gain {  // section 5
    const std::int32_t* factor;
    std::int64_t n;
    int exponent;
    std::int64_t epsilon;
};

// cap * tanh(x / cap) (section 2).
struct SoftCap {
    std::int64_t slope = 0;  // 2 / cap in Q24; 0: there is none
    std::int64_t limit = 0;  // cap in Q16
};

struct QueryScale {  // section 7
    std::int64_t mantissa;
    int exponent;
    SoftCap cap{};  // of scores
};

// The cache of one layer and KV head: position p is in pages[p / page_size], at the given offsets.
//   keys    int16 [page_size / 16][depth / 2][16][2]     values  int8 [page_size / 4][depth][4]
//   scales  int32 [page_size] each
struct HeadCache {
    std::uint8_t* const* pages;
    std::int64_t page_size, depth;  // depth: the head's width padded to 16
    std::int64_t keys, values, key_scales, value_scales;
};

constexpr std::int32_t kNoSink = INT32_MIN;

struct Query {
    const std::int32_t* x;    // (width,) in Q16
    std::int64_t first, end;  // visible are slots first..end - 1,
    std::uint64_t more;       // and end + j where bit j is set
    std::int32_t* out;        // (width,) in Q16
    std::uint8_t* const* pages;
    std::int32_t sink = kNoSink;  // one more score, in base 2 and Q16, without a value
};

// Slots begin..end - 1 (multiples of 16), for queries first..last - 1, which have the same pages there.
struct Segment {
    std::int64_t begin, end;
    int first, last;
};

// Multiplies rows row0..row1 by panels panel0..panel1; scratch holds matmul_scratch(). packed: scratch still holds the
// same rows from a call for the same matrix and outputs; there are at most row_block() of them.
using Matmul = void(const Matrix& w, const Activations& a, std::int64_t row0, std::int64_t row1, std::int64_t panel0,
                    std::int64_t panel1, const Output& out, std::int32_t* scratch, bool packed);
struct Products {
    std::int64_t row_bytes;  // of packed rows that a product takes at a time (row_block)
    Matmul* matmul;
};

struct Kernels {
    const char* name;
    Products products;  // which other units compile

    void (*quantize_narrow)(const std::int32_t* x, std::int64_t n, int fraction, const Activations& a,
                            std::int64_t row);
    void (*quantize_wide)(const std::int64_t* x, std::int64_t n, int fraction, const Activations& a, std::int64_t row);
    // The same for another grid.
    void (*quantize_to)(const std::int64_t* x, std::int64_t n, int fraction, const Scheme& scheme, const Activations& a,
                        std::int64_t row);
    // Sets the dropped codes of a quantised row of n inputs to zero.
    void (*sparsify)(const Activations& a, std::int64_t row, std::int64_t n, const Sparsity& sparsity);
    // In place on blocks of `size`, a divisor of n.
    void (*hadamard)(std::int64_t* x, std::int64_t n, std::int64_t size);
    void (*norm_narrow)(const std::int32_t* x, const Gain& g, int fraction, std::int32_t* out);  // one head, Q16 in
    void (*norm_wide)(const std::int64_t* x, const Gain& g, std::int32_t* narrow, std::int64_t* wide, bool accumulate);
    void (*sine_cosine)(std::int64_t position, const std::uint64_t* turns, std::int64_t n, std::int32_t* sine,
                        std::int32_t* cosine);
    void (*rotate)(std::int32_t* head, const std::int32_t* sine, const std::int32_t* cosine, std::int64_t half,
                   bool interleaved);
    void (*gate)(const std::int32_t* gate, const std::int32_t* up, std::int64_t n, GateKind kind, std::int64_t* out);
    // 1 / (1 + exp(-x)), Q16 to Q30.
    void (*sigmoid)(const std::int32_t* x, std::int64_t n, std::int32_t* out);
    // Sums `count` rows, each multiplied by its factor.
    void (*weighted_sum)(const std::int32_t* const* rows, const std::int32_t* factors, std::int64_t count,
                         std::int64_t width, std::int64_t* out);
    // In place, Q16.
    void (*soft_cap)(std::int32_t* x, std::int64_t n, SoftCap cap);
    // Adds rows in Q20, clipped to 42 bits, times a factor in Q18 below 4.
    void (*add_scaled)(const std::int64_t* y, std::int64_t n, std::int32_t factor, std::int64_t* x);
    // Prefetches the cache lines that append will write.
    void (*expect)(const HeadCache& cache, std::int64_t position);
    void (*append)(const std::int32_t* key, const std::int32_t* value, std::int64_t width, const HeadCache& cache,
                   std::int64_t position);
    // Queries of one KV head, of any sequences; segments cover the slots that each query sees. cache.pages is not read.
    // slots: from the first visible one, rounded down to 16, to the last, rounded up; scratch holds
    // attend_bytes(count, slots, depth).
    void (*attend)(const Query* queries, int count, const Segment* segments, int segment_count, std::int64_t width,
                   QueryScale scale, const HeadCache& cache, std::uint8_t* scratch);
    void (*weights)(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope,
                    std::int32_t* out, std::int64_t* mass);
    // Draws (section 10), over n logits. peaks: writes the maximum of each lane for every kPeakRun logits; returns the
    // overall maximum.
    std::int32_t (*peaks)(const std::int32_t* logits, std::int64_t n, std::int32_t* out);
    // Writes the indices of logits that are at least `least`, in order; returns their number.
    std::int64_t (*above)(const std::int32_t* logits, std::int64_t n, std::int32_t least, std::int32_t* places);
    // Packs the logits whose bits are set, and their indices, into arrays with room for kPeakLanes more than n; returns
    // their number. `to` may be `logits`.
    std::int64_t (*compress)(const std::int32_t* logits, std::int64_t n, const std::uint32_t* bits, std::int32_t* to,
                             std::int32_t* places);
    // Writes the sum of the unnormalised probabilities of every kMassRun logits; returns the sum of all. slope >=
    // kLeastSlope.
    std::int64_t (*masses)(const std::int32_t* logits, std::int64_t n, std::int32_t largest, std::int64_t slope,
                           std::int64_t* sums);

    // Measurements of the machine's limits (limits.inl).
    std::int64_t (*multiply_adds)(const std::uint8_t* codes, std::int64_t rounds, std::int32_t* out);
    void (*read_bytes)(const std::uint8_t* from, std::int64_t bytes, std::int32_t* out);
};

constexpr std::int64_t kPeakRun = 1024, kPeakLanes = 16, kMassRun = 512;
constexpr std::int64_t kLeastSlope = 1 << 20;  // temperatures up to 1,000 and beyond

// Number of activation rows that a thread multiplies by its panels at a time: their packed form, at most 48 bytes per
// block, stays in the second-level cache. A multiple of the tiles' heights.
constexpr std::int64_t kMostRows = 64, kRowScale = 10;  // of a row's scale, the int32 that it takes
constexpr std::int64_t kRowBytes = 1 << 18;
inline constexpr std::int64_t row_block(std::int64_t blocks, std::int64_t row_bytes) {
    const std::int64_t rows = row_bytes / (48 * blocks) / 8 * 8;
    return rows < 16 ? 16 : rows > kMostRows ? kMostRows : rows;
}
inline constexpr std::int64_t matmul_scratch(std::int64_t blocks, std::int64_t row_bytes) {
    // In int32: rows, and a panel's codes as one or two bytes each.
    return kMostRows * kRowScale + (blocks + 1) * (row_block(blocks, row_bytes) * 12 + 256);
}

// Lanes per row of scores: an odd number of cache lines, so that rows do not collide in the first-level cache.
inline constexpr std::int64_t score_stride(std::int64_t slots) { return (slots + 15) / 32 * 32 + 16; }
inline constexpr std::int64_t kQueryBytes = 256;
inline constexpr std::int64_t attend_bytes(std::int64_t queries, std::int64_t slots, std::int64_t depth) {
    return queries * (score_stride(slots) * 4 + depth * 10 + kQueryBytes);  // in bytes
}

}  // namespace intact
