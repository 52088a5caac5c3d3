// The pages that rows of a step share, so that attention reads them once for all of these rows.
#pragma once

#include <cstdint>
#include <vector>

namespace intact {

struct Chunk;

// Slots begin..end - 1, whose pages are shared by rows first..last - 1 in the order of Forest::rows.
struct Stretch {
    std::int64_t first, last, begin, end;
};

// The prefix tree of the page tables. A stretch ends where some of its sequences diverge or end; the stretches of one
// sequence, in order, cover its slots.
struct Forest {
    std::vector<std::int64_t> rows;  // of the step, in an order in which those that share pages are neighbours
    std::vector<Stretch> stretches;
    std::int64_t shared = 0;  // rows times slots in stretches of more than one sequence
};

Forest grow_forest(const std::vector<Chunk>& chunks, std::int64_t page_size);

// The same forest, restricted to the kept rows (by row of the step).
Forest only(const Forest& forest, const std::vector<bool>& kept);

}  // namespace intact
