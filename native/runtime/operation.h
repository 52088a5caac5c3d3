// The interface between the core and operations. Each operation is one file of native/ops, which contains all the C++
// code specific to it.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace intact {

class Follower;
class Model;
struct Fp32Run;
struct Int8Run;
struct Op;
struct Plan;
struct Step;

// The indices of the weights that an operation reads, for the pager.
struct WeightUse {
    std::vector<int> all;                    // together
    std::vector<std::vector<int>> chosen{};  // of each expert, of which rows choose some
    bool whole = true;                       // if false, only some rows of them
    bool is_head = false;                    // if true, only in steps whose logits are wanted
};

// One kind of operation. Its object is static: the constructor registers it in the table that `find` searches.
class Operation {
public:
    explicit Operation(std::string_view name) noexcept;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // Throws std::invalid_argument, which lists the known names.
    static const Operation& find(std::string_view name);

    // Throws std::invalid_argument if fields refer to missing buffers, weights or columns, or numbers are out of
    // bounds.
    virtual void check(const Model& model, const Op& op) const = 0;
    // Records how threads share its buffers (plan.h).
    virtual void follow(Follower& follower, const Op& op, Plan& plan) const = 0;
    // Runs the operation over the rows of a step, on one of its threads.
    virtual void run(Int8Run& run, const Op& op) const = 0;
    virtual void run(Fp32Run& run, const Op& op) const = 0;

    // Registers what a validated operation, not yet part of the model, adds to it: a part of the cache, a head.
    virtual void enter(Model& model, const Op& op) const;
    // Allocates the operation's intermediate results in a step.
    virtual void make_room(Model& model, Step& step, const Op& op) const;
    // The maximum number of shared tasks from which threads take pieces (share.h).
    virtual std::size_t shares(const Op& op) const;
    virtual WeightUse weights(const Op& op) const;

    // If true, it sets a buffer. By default it sets its target, unless it accumulates.
    virtual bool writes(const Op& op, int buffer) const;
    // If true, its result depends on a buffer's contents. By default it reads its sources, and the target if it
    // accumulates.
    virtual bool reads(const Op& op, int buffer) const;
    // If true, a row's result depends on other rows of its sequence.
    virtual bool reads_other_rows() const { return false; }
    // If true, it reads tokens or positions of rows, so rows must not have been moved.
    virtual bool reads_places() const { return false; }

    // Fuses operation i of the model with the previous or next one, if possible.
    virtual void fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const;
    // If true, a preceding norm can be fused with it.
    virtual bool takes_norm() const { return false; }
    // If true, a gate of its results can be fused with it.
    virtual bool takes_gate(const Model& model, const Op& op, const Op& gate) const;

    const std::string_view name;

protected:
    ~Operation() = default;

private:
    const Operation* const next_;  // in the table
};

}  // namespace intact
