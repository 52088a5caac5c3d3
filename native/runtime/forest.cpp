#include "runtime/forest.h"

#include <algorithm>
#include <numeric>

#include "runtime/model.h"
#include "runtime/step.h"

namespace intact {
namespace {

struct Grower {
    struct Leaf {
        const std::uint8_t* const* pages;
        std::int64_t used, chunk;  // pages in use
        std::int64_t common = 0;   // leading pages that are those of the leaf before, too
    };

    Grower(const std::vector<Chunk>& chunks, std::int64_t page_size_) : page_size(page_size_) {
        std::int64_t row = 0;
        for (std::size_t c = 0; c < chunks.size(); c++) {
            const std::int64_t used = (chunks[c].position + chunks[c].count + page_size - 1) / page_size;
            leaves.push_back({chunks[c].pages.data(), used, static_cast<std::int64_t>(c)});
            start.push_back(row);
            row += chunks[c].count;
        }
        start.push_back(row);
        const auto before = [](const Leaf& a, const Leaf& b) {
            return std::lexicographical_compare(a.pages, a.pages + a.used, b.pages, b.pages + b.used,
                                                std::less<const std::uint8_t*>());
        };
        std::sort(leaves.begin(), leaves.end(), before);
        place.push_back(0);
        for (std::size_t i = 0; i < leaves.size(); i++) {
            Leaf& leaf = leaves[i];
            const std::int64_t begin = at(start, leaf.chunk), end = at(start, leaf.chunk + 1);
            for (std::int64_t m = begin; m < end; m++) forest.rows.push_back(m);
            place.push_back(static_cast<std::int64_t>(forest.rows.size()));
            if (i == 0) continue;
            const Leaf& last = leaves[i - 1];
            while (leaf.common < std::min(leaf.used, last.used) && leaf.pages[leaf.common] == last.pages[leaf.common])
                leaf.common++;
        }
    }

    // Handles leaves first..last - 1, which share their first `from` pages.
    void grow(std::int64_t first, std::int64_t last, std::int64_t from) {
        std::int64_t common = at(leaves, first).used;
        for (std::int64_t i = first + 1; i < last; i++) common = std::min(common, at(leaves, i).common);
        if (common > from) {
            forest.stretches.push_back({at(place, first), at(place, last), from * page_size, common * page_size});
            if (last - first > 1) forest.shared += (at(place, last) - at(place, first)) * (common - from) * page_size;
        }
        if (last - first == 1) return;
        for (std::int64_t begin = first, i = first + 1; i <= last; i++) {
            if (i < last && at(leaves, i).common > common) continue;
            grow(begin, i, common);
            begin = i;
        }
    }

    const std::int64_t page_size;
    std::vector<Leaf> leaves;
    std::vector<std::int64_t> start, place;  // the first row of each chunk; each leaf's place in the order of rows
    Forest forest;
};

}  // namespace

Forest grow_forest(const std::vector<Chunk>& chunks, std::int64_t page_size) {
    Grower grower(chunks, page_size);
    // Trees without common pages are separate from the first page onwards.
    grower.grow(0, static_cast<std::int64_t>(chunks.size()), 0);
    return std::move(grower.forest);
}

Forest only(const Forest& forest, const std::vector<bool>& kept) {
    Forest part;
    std::vector<std::int64_t> place{0};  // of what is kept, before each place of the whole
    for (const std::int64_t row : forest.rows) {
        if (kept[static_cast<std::size_t>(row)]) part.rows.push_back(row);
        place.push_back(static_cast<std::int64_t>(part.rows.size()));
    }
    for (const Stretch& s : forest.stretches)
        if (at(place, s.first) < at(place, s.last))
            part.stretches.push_back({at(place, s.first), at(place, s.last), s.begin, s.end});
    return part;
}

}  // namespace intact
