// Plans which operations are fused, and where threads wait for each other.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "runtime/model.h"

namespace intact {

// One plan per operation, for runs of the int8 profile.
std::vector<Plan> make_plan(const Model& model);

// If true, nothing reads the contents of the buffer that operation i leaves.
bool ends_at(const std::vector<Op>& ops, std::size_t i, int buffer);

// How threads have shared a buffer since they last met: it is complete for all threads (kAll), each thread has its rows
// (kRows), or each has its part of this many heads (positive); for reads, several of these ways (kSeveral).
constexpr int kAll = 0, kRows = -1, kSeveral = -2;

// Walks through the program and records where an operation would read what another thread has written, or write what
// another thread may still be reading.
class Follower {
public:
    explicit Follower(const Model& model);
    void run(std::vector<Plan>& plan);

    // Declares reads of buffers: all threads meet first, unless each finds its share of every buffer.
    void demand(Plan& plan, int how, std::initializer_list<int> buffers);
    // Declares that each thread reads its share of the sources and writes its share of the target, which it may also
    // read.
    void share(Plan& plan, int how, std::initializer_list<int> sources, int target);
    // Declares reads of sines and cosines of other threads' rows.
    void demand_angles(Plan& plan, int rotation);
    // Makes threads meet before the operation.
    void meet(Plan& plan);
    // Records that all threads have met.
    void all();
    // Records that all threads have met, and that each has since read its rows of the source and written those of the
    // target.
    void all_but(int source, int target);

    // The buffer that a product reads: its source, or the source of its fused norm.
    int source(const Op& op, const Plan& plan) const;
    bool is_complete(int buffer) const;  // it is there for everybody
    bool is_idle(int buffer) const;      // and nobody may still be reading it

    const Model& model;

private:
    std::vector<int> written_, read_, angles_;
};

}  // namespace intact
