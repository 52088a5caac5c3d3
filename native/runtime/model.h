// A program with its weights, and the step that runs it (the native executor).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/fp32.h"
#include "kernels/kernels.h"
#include "runtime/kv_codec.h"
#include "runtime/operation.h"
#include "runtime/pager.h"
#include "runtime/pool.h"
#include "runtime/routing.h"
#include "runtime/scan_block.h"
#include "runtime/stopwatch.h"
#include "runtime/weight.h"

namespace intact {

enum class Profile { kInt8, kFp32 };

// A matrix in the profile's format: integer panels, or the checkpoint's own bytes (kept alive by the caller).
struct MatrixWeight {
    Weight packed;
    Matrix matrix{};  // pointers into packed
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
    std::int64_t factor = std::int64_t{1} << 30;  // of sines and cosines, Q30, below 7/4
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

// One operation of a program (src/intact/models/program.py), with indices of buffers and weights.
struct Op {
    const Operation* kind = nullptr;
    int source = -1;  // attend: the query; gate: the gate; exchange: this rank's columns, or -1 for none
    int second = -1;  // attend: the key; gate: up, or -1 for none; experts: their scores; scan, delta, selective:
                      // steps; recurrence: its forget gate; trapezoidal: B
    int third = -1;   // attend: the value; delta: how much each head writes; selective: B; trapezoidal: C
    int fourth = -1;  // selective: C; trapezoidal: what leads each position
    int target = -1;
    int weight = -1;              // of embed and logits; norm: its gain; rope: its rotation
    int heads = 0;                // norm: 0 for whole rows
    int groups = 1;               // norm of whole rows: runs of columns that are normed each by itself
    int kv_heads = 0, layer = 0;  // attend; convolutions, scans, delta: the number of its part of the cache
    std::int64_t width = 0;       // of a head: rope, attend; hadamard: of a block; experts: hidden; convolutions: taps
    std::int64_t window = 0;      // attend: positions seen, 0 for all
    bool causal = true;           // attend: rows see positions up to their own, else all of their text
    bool accumulate = false;      // norm, experts, exchange; gather: columns of index -1 stay as they are
    bool centered = false;        // norm: of whole rows, less their mean
    // Norm, embed: added to its result; attend: sinks, a score of each head; convolutions: weights; or -1.
    int bias = -1;
    int added = -1;                     // convolve_silu: a number of each channel, added to the sum; experts: what the
                                        // weight of each is multiplied by; or -1
    bool interleaved = false;           // rope
    GateKind gate = GateKind::kSilu;    // gate, experts
    QueryScale scale{};                 // attend; linear: of the codes of all its rows, 0 where each has its own
    SoftCap cap{};                      // logits
    float float_cap = 0;                // profile fp32: of attend's scores, of logits; 0: none
    std::int64_t multiplier = 0;        // embed, multiply: the factor in Q24
    float float_scale = 0;              // profile fp32: attend's scale, embed's and multiply's factor
    std::vector<LinearTarget> targets;  // linear; experts: of each gate, up and down (their buffers have no meaning);
                                        // adapt: of each adapter down and up, weights of -1 where it has none;
                                        // steer: of each adapter the bias, or -1
    Routing routing{};                  // experts
    ScanForm scan{};                    // its convolution's weights are `bias`
    std::vector<std::int32_t> index;    // gather: for each column of the target that of the source, or -1: none
    std::int64_t keep = 0;              // linear: inputs of a row that stay, 0 for all
    std::vector<std::int32_t> norms;    // linear: of the columns, where they weight the choice
    bool random = false;                // linear: that choice is random
    std::int64_t outliers = 0;          // linear: blocks of outliers, in which its rows end three times; 0: none
    int positions = -1;                 // embed: a weight with a row for each position, which is added; or -1
    std::int64_t first = 0;             // embed: its row of position 0; multiply: the source's first column
    std::int32_t separator = -1;        // embed: rows behind the first such token get `second_bias` in place of `bias`
    int second_bias = -1;
};

// Tokens of one sequence: row i is cached in slot position + i of the sequence's pages.
struct Chunk {
    std::int64_t position;  // of the first
    std::int64_t count;
    std::vector<std::uint8_t*> pages;
    std::vector<std::int32_t> parents{};  // of a tree of drafts (at most kTreeRows), or -1; empty: consecutive tokens
    int adapter = -1;                     // whose changes its rows pass, by number; -1: none
};
constexpr std::int64_t kTreeRows = 64;

// Counters over the steps so far, with which tests show that a setting took effect.
struct Counters {
    std::int64_t steps = 0, rows = 0, largest_step = 0, chunks = 0, tree_rows = 0, shared_positions = 0;
    std::int64_t ended_rows = 0;  // that ended behind the last attention, as nobody wanted their logits
};

// The plan for running one operation on several threads (plan.h). A thread takes some of the rows, or some of the heads
// of all rows. It may continue with its own results if the work is divided in the same way; otherwise all threads must
// have met first.
struct Plan {
    bool skip = false;  // it is part of another operation:
    int norm = -1;      // of a product, the norm that makes its source, of which no row is then stored;
    int gate = -1;      // of a product, the gate that takes its two results, output by output; nothing else does
    bool meet = false;  // threads meet before it
    bool whole =
        false;  // of a product: its source is complete, so that each thread may quantise a single row for itself
    bool last = false;  // of the last attention, convolution or scan: behind it only rows whose logits are wanted go
                        // on, in front;
    std::vector<int> live;  // these buffers of theirs are read there
};

// Per-thread buffers: a row between a norm and its codes (also as int64), and the codes of a single row.
struct Own {
    Buffer row, wide, quantized;
};

// The head's inputs for the rows whose logits the last step returned: floats in the fp32 profile, otherwise codes.
struct HeadInputs {
    std::int64_t width = 0;  // numbers of a row
    std::int64_t rows = 0;
    Activations codes{};        // where the rows were quantised; valid until the next step
    std::vector<float> floats;  // profile fp32
};

// The fields are public for operations, their runs (run_int8.h, run_fp32.h) and the bindings.
class Model {
public:
    Model(Profile profile, const std::string& tier, int threads, int layers, int kv_heads, std::int64_t head_width,
          std::int64_t page_size, bool pinned = false);

    // Sets the bits of cached keys and values (profile int8); must be called before pages are reserved.
    void set_kv(KvBits bits);
    int add_buffer(std::int64_t width, bool wide);

    // Page numbers are stable; memory grows as pages are added.
    void reserve_pages(std::int64_t count);
    void copy_page(std::int64_t from, std::int64_t to);
    // Copies the data of all layers in slot `from` of a sequence with these pages to slot `to`.
    void move(const std::vector<std::uint8_t*>& table, std::int64_t from, std::int64_t to);

    // Runs the program over all rows of the chunks; returns the logits of the wanted rows (in the fp32 profile, the
    // bits of floats).
    void step(const std::int32_t* tokens, std::int64_t rows, const std::vector<Chunk>& chunks,
              const std::int64_t* wanted, std::int64_t wanted_count, std::int32_t* logits);

    // The size of a weight's matrix, in either profile.
    std::int64_t matrix_rows(int weight) const;
    std::int64_t matrix_columns(int weight) const;
    // The location of a layer's KV head in pages; head = layer * kv_heads + the head's index.
    HeadCache head_cache(std::uint8_t* const* table, std::int64_t head) const;
    std::int64_t page_bytes() const;
    // Bytes from the start of a page to a convolution's rows: first the codes of all channels for each position, then
    // the exponent for each position; in the fp32 profile floats.
    std::int64_t convolution_offset(int layer) const;
    // Bytes from the start of a page to a scan's data, and the offsets of its parts from there.
    std::int64_t scan_offset(int layer) const;
    ScanPages scan_pages(int layer) const {
        return {scans.at(static_cast<std::size_t>(layer)), page_size, profile == Profile::kFp32};
    }
    std::int64_t page_values() const {
        return std::int64_t{layers} * kv_heads * page_size * head_width;
    }  // fp32: floats before a page's values
    std::int64_t weight_bytes() const;

    // The size in bytes of the head's input for one row, and a copy of it for row i of the last step's logits
    // (docs/spec/receipts.md).
    std::int64_t head_bytes() const;
    void copy_head(std::int64_t i, std::uint8_t* to) const;

    const Profile profile;
    const Kernels* const kernel;
    const Fp32Kernels* const float_kernel;
    const int layers, kv_heads;
    const std::int64_t head_width, depth, page_size;  // depth: the head's width padded to 16
    Pool pool;
    KvBits kv;                      // of keys and values in pages (profile int8)
    std::vector<CodecRoom> codecs;  // one a thread, where these are coded

    std::vector<BufferSpec> buffers;
    std::vector<Op> ops;
    // Properties that operations set.
    std::int64_t vocabulary = 0;  // tokens that the embedding knows; 0: another rank embeds
    std::int64_t outputs = 0;     // logits of a row, 0 where its head has no weight
    std::int64_t most_positions =
        std::numeric_limits<std::int64_t>::max();  // of a text, as the embedding has positions
    bool whole = false;                            // whether attention sees a whole text, which is then one chunk
    std::optional<std::int64_t> adapters;          // that every change knows; none: there are no changes
    std::vector<std::size_t> exchanges;            // their numbers among the operations
    std::vector<std::int64_t> convolutions;        // their channels, in order of their parts of the cache
    std::vector<ScanForm> scans;                   // in order of their parts of the cache
    std::vector<std::unique_ptr<MatrixWeight>> weights;
    std::unique_ptr<Pager> pager;  // of those that are mapped from a file, or null
    std::vector<NormGain> gains;
    std::vector<std::vector<std::int64_t>> biases;
    std::vector<std::vector<float>> float_biases;
    std::vector<Rotation> rotations;
    std::vector<Buffer> pages;

    std::vector<Buffer> memory;                                     // of the buffers
    std::shared_ptr<Buffer> logits = std::make_shared<Buffer>(64);  // of the last step; views may outlive the model
    Buffer wide_rows;                                               // the same of a scheme whose codes are wide
    Buffer quantized;                                               // rows on their way into a product
    Buffer adapter_rows, adapter_codes, adapter_sums;               // of one adapter: narrow, their codes, wide
    Buffer expert_rows, expert_hidden, expert_codes;                // rows by expert: codes, hidden rows, their codes
    HeadInputs head;                                                // of the last step
    std::vector<Buffer> scratch;                                    // one a thread
    std::vector<Own> own;                                           // the same
    std::vector<Plan> plan;                                         // of the operations, made by the first step
    Counters counters;
    std::atomic<std::int64_t> saturated{0};  // numbers of recurrent states that came to the limit
    // Runs exchange i over the given number of rows of its buffers: sends this rank's columns, and sets the target or
    // adds to it.
    std::function<void(std::size_t i, std::int64_t rows)> exchange;
    std::optional<Scheme> scheme;  // of the rows that enter products other than the head's; none: int8
    bool recording = false;        // whether the inputs of products are kept, for calibration (profile int8)
    std::vector<std::vector<std::uint8_t>> recorded;  // of the last step: for each operation its rows' bytes
    bool profiling = false;                           // whether the stopwatch runs
    Stopwatch stopwatch;
    std::atomic_flag busy;  // one call at a time: the pool, the scratch and the pages are shared
};

}  // namespace intact
