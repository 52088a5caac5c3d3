// One step: the rows that run through the program together, and their memory.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/forest.h"
#include "runtime/model.h"
#include "runtime/share.h"

namespace intact {

// vector[i] for the signed indices of plain structs.
template <class V, class I> auto& at(V& vector, I i) { return vector[static_cast<std::size_t>(i)]; }

struct Step {
    const std::int32_t* tokens;
    std::int64_t rows;
    const std::vector<Chunk>* chunks;
    const std::int64_t* wanted;
    std::int64_t wanted_count;
    std::int32_t* logits;
    std::vector<std::int64_t> position{}, slot{}, chunk{};  // of every row; in a tree of drafts slots run ahead
    std::vector<std::uint64_t> ancestors{};                 // of rows of trees, themselves included: rows of the chunk
    std::vector<std::vector<std::int32_t>> sine{}, cosine{};       // [rotation][row * frequencies + i]
    std::vector<std::vector<float>> float_sine{}, float_cosine{};  // profile fp32
    std::vector<std::vector<const float*>> keys{}, values{};       // profile fp32: [chunk][page]
    Forest forest{}, wanted_forest{};                              // profile int8: of all rows, of the wanted
    bool narrows = false;                                          // profile int8: only some rows are wanted, in order
    std::vector<ExpertChoice> choices{};                           // of the operation at hand, [row][used]
    std::vector<Share::Taken> shares{};  // profile int8: of its products and attentions, [work][thread]

    // Positions that row m's attention sees, the last inclusive: its window up to its own position, or its whole
    // sequence.
    Span visible(std::int64_t m, const Op& attend) const {
        if (!attend.causal) {
            const Chunk& text = at(*chunks, at(chunk, m));
            return {0, text.position + text.count - 1};
        }
        const std::int64_t last = at(position, m), window = attend.window;
        return {window && last >= window ? last - window + 1 : 0, last};
    }
};

void run_int8(Model& model, Step& step, int thread);
void run_fp32(Model& model, Step& step, int thread);

// Activations for `rows` rows of `columns` values, laid out in one buffer, which grows if necessary.
Activations lay_out(Buffer& buffer, std::int64_t rows, std::int64_t columns);

// Bytes of row i: codes, then scales and the exponent, little-endian (numerics.activations.to_bytes).
void copy_activations(const Activations& a, std::int64_t i, std::uint8_t* to);
inline std::int64_t activation_bytes(const Activations& a) { return a.blocks * 34 + 4; }

// Ensures that a buffer holds at least `bytes` bytes; its contents are lost if it grows.
void ensure(Buffer& buffer, std::int64_t bytes);

// Allocates memory for the quantised rows of a product's source (profile int8).
void make_input_room(Model& model, const Step& step, const Op& op);

}  // namespace intact
