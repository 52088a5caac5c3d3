// What the core asks of an operation. Each operation is one file of native/ops, which holds all that C++ knows of it.
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

// The weights that an operation reads, by number, for the pager.
struct WeightUse {
    std::vector<int> all;                    // together
    std::vector<std::vector<int>> chosen{};  // of each expert, of which rows choose some
    bool whole = true;                       // if false, only some rows of them
    bool is_head = false;                    // if true, only in steps whose logits are wanted
};

// One kind of operation. Its object is static: constructing it enters it in the table that `find` searches.
class Operation {
public:
    explicit Operation(std::string_view name) noexcept;
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // Throws std::invalid_argument, which lists the names that there are.
    static const Operation& find(std::string_view name);

    // Throws std::invalid_argument where fields name buffers, weights or columns that are not there, or numbers out of
    // their bounds.
    virtual void check(const Model& model, const Op& op) const = 0;
    // Notes how threads share its buffers (plan.h).
    virtual void follow(Follower& follower, const Op& op, Plan& plan) const = 0;
    // Runs it over the rows of a step, on one of its threads.
    virtual void run(Int8Run& run, const Op& op) const = 0;
    virtual void run(Fp32Run& run, const Op& op) const = 0;

    // Tells the model what it gets by a checked operation, which it does not have yet: a part of the cache, a head.
    virtual void enter(Model& model, const Op& op) const;
    // Makes room for what a step keeps on its way.
    virtual void make_room(Model& model, Step& step, const Op& op) const;
    // Works of which threads take pieces (share.h), at most.
    virtual std::size_t shares(const Op& op) const;
    virtual WeightUse weights(const Op& op) const;

    // If true, it sets a buffer. By default it sets its target, unless it adds to it.
    virtual bool writes(const Op& op, int buffer) const;
    // If true, its result depends on what a buffer held. By default on its sources, and the target if it adds to it.
    virtual bool reads(const Op& op, int buffer) const;
    // If true, a row's result depends on other rows of its text.
    virtual bool reads_other_rows() const { return false; }
    // If true, it reads tokens or positions of rows, which must then be in their places.
    virtual bool reads_places() const { return false; }

    // Marks operation i of the model as part of the one before or behind it, where it can be.
    virtual void fuse(const Model& model, std::size_t i, std::vector<Plan>& plan) const;
    // If true, a norm before it can be part of it.
    virtual bool takes_norm() const { return false; }
    // If true, a gate of its results can be part of it.
    virtual bool takes_gate(const Model& model, const Op& op, const Op& gate) const;

    const std::string_view name;

protected:
    ~Operation() = default;

private:
    const Operation* const next_;  // in the table
};

}  // namespace intact
