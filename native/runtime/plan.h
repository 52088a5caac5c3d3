// Which operations are taken together, and where threads wait for each other.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "runtime/model.h"

namespace intact {

// By operation, for runs of the profile int8.
std::vector<Plan> make_plan(const Model& model);

// If true, nothing reads what operation i leaves in the buffer.
bool ends_at(const std::vector<Op>& ops, std::size_t i, int buffer);

// How threads have shared a buffer since they met: it is there for everybody, or each has its rows, or its heads of so
// many; or, of a buffer that is read, in several of these ways.
constexpr int kAll = 0, kRows = -1, kSeveral = -2;

// Follows the program and notes where an operation would read what another thread has written, or write what another
// may still be reading.
class Follower {
public:
    explicit Follower(const Model& model);
    void run(std::vector<Plan>& plan);

    // These are read, and all threads meet first unless each finds its share of them.
    void demand(Plan& plan, int how, std::initializer_list<int> buffers);
    // Each thread reads its share of some, and writes that of another, which it may read too.
    void share(Plan& plan, int how, std::initializer_list<int> sources, int target);
    // Sines and cosines of other threads' rows are read.
    void demand_angles(Plan& plan, int rotation);
    // Threads meet before the operation.
    void meet(Plan& plan);
    // They have met.
    void all();
    // They have met, and since then each has read its rows of one and written those of another.
    void all_but(int source, int target);

    // What a product reads: its source, or that of the norm which is part of it.
    int source(const Op& op, const Plan& plan) const;
    bool is_complete(int buffer) const;  // it is there for everybody
    bool is_idle(int buffer) const;      // and nobody may still be reading it

    const Model& model;

private:
    std::vector<int> written_, read_, angles_;
};

}  // namespace intact
