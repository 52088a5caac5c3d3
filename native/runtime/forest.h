// Which rows of a step share pages: what attention reads once for all of them.
#pragma once

#include <cstdint>
#include <vector>

namespace intact {

struct Chunk;

// Pages of slots begin..end - 1 that the rows at places first..last - 1 of the order have in common.
struct Stretch {
    std::int64_t first, last, begin, end;
};

// The prefix tree of the page tables. A stretch ends where some of its sequences part or end; those of one sequence,
// in order, cover its slots.
struct Forest {
    std::vector<std::int64_t> rows;  // of the step, in an order in which those that share pages are neighbours
    std::vector<Stretch> stretches;
    std::int64_t shared = 0;  // rows times slots in stretches of more than one sequence
};

Forest grow_forest(const std::vector<Chunk>& chunks, std::int64_t page_size);

// The same without the rows that are not kept (by row of the step).
Forest only(const Forest& forest, const std::vector<bool>& kept);

}  // namespace intact
