// Keeps weights that are mapped from a file below a memory cap. It can only affect speed: a dropped page is read again
// on the next access.
//
// A stage is an operation that reads weights, in program order. The weights that a stage reads together (all matrices
// of a product, or those of one expert) form a unit, which is either in memory or not. Room is made by dropping the
// unit that is needed last. The next use of a matrix is known because every step runs the same program; an expert that
// was left out is expected to be left out as often again. Thread 0 calls all functions; room for a stage is made before
// any thread reaches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "runtime/routing.h"

namespace intact {

class Model;

class Pager {
public:
    struct Counts {
        std::int64_t requested = 0, dropped = 0;  // bytes so far
        std::int64_t here = 0, most = 0;          // bytes counted now; the most ever
    };

    // map: all bytes of the file. Throws if `cap` is below `least`.
    Pager(const Model& model, const std::uint8_t* map, std::size_t size, std::int64_t cap);

    // The smallest valid cap: any two successive stages must fit, including all experts of mixtures.
    std::int64_t least() const;

    // Starts a step that computes logits for `wanted` rows.
    void start(std::int64_t wanted);
    // Starts an operation.
    void reach(std::size_t op);
    // Announces the experts that the rows of an operation use.
    void choose(std::size_t op, const std::vector<ExpertRows>& experts);

    Counts counts;
    int file = -1;  // where not -1: dropped pages leave the system's cache too, for benchmarks

private:
    struct Range {
        const std::uint8_t* begin;
        std::size_t size;
    };
    struct Unit {
        std::vector<Range> ranges;
        std::vector<std::int64_t> stages;      // that read it
        std::int64_t bytes = 0;                // at most, that its use maps
        std::int64_t left_out = 0;             // since its last use, how often its stage did without it
        bool here = false, requested = false;  // whether it counts; whether the system was asked for it since
    };
    struct Stage {
        std::vector<std::size_t> units;   // of a mixture those of expert e are [firsts[e], firsts[e + 1])
        std::vector<std::size_t> firsts;  // of a mixture, else empty
        bool whole = true;                // whether all of them is read; of an embedding only some rows are
        bool is_head = false;
    };

    void add(Stage& stage, const Model& model, const std::vector<int>& weights);
    std::int64_t distance(std::int64_t stage) const;
    std::int64_t until(const Unit& unit) const;  // stages until it is needed, as expected
    bool is_pinned(const Unit& unit) const;
    bool make_room(std::int64_t bytes, std::int64_t later_than);
    bool take(Stage& stage, std::size_t unit, std::int64_t later_than);
    void look_ahead();
    void drop(Unit& unit);
    std::int64_t next(std::int64_t stage) const { return (stage + 1) % static_cast<std::int64_t>(stages_.size()); }

    const std::uint8_t* map_;
    std::size_t size_;
    std::int64_t cap_, ahead_;
    std::vector<Unit> units_;
    std::vector<Stage> stages_;
    std::map<const std::uint8_t*, std::size_t> unit_at_;  // by where a matrix begins
    std::vector<std::int64_t> stage_of_;                  // of each operation, or -1
    std::int64_t now_ = 0;                                // the stage at hand
    bool heads_ = true;                                   // whether the step reads the head
};

}  // namespace intact
