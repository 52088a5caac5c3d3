#include "runtime/plan.h"

#include <algorithm>

#include "runtime/exact.h"
#include "runtime/step.h"

namespace intact {
namespace {

bool writes(const Op& op, int buffer) {
    switch (op.kind) {
        case Op::kEmbed:
        case Op::kHadamard:
        case Op::kMultiply:
        case Op::kAttend:
        case Op::kConvolve:
        case Op::kConvolveSilu:
        case Op::kScan:
        case Op::kDelta:
        case Op::kSelective:
        case Op::kRecurrence:
        case Op::kTrapezoidal:
        case Op::kGate:
            return op.target == buffer;
        case Op::kGather:
        case Op::kNorm:
        case Op::kAllGather:
        case Op::kExperts:
            return op.target == buffer && !op.accumulate;
        case Op::kAdapt:
        case Op::kSteer:
            return false;  // they add
        case Op::kLinear:
            return std::any_of(op.targets.begin(), op.targets.end(),
                               [&](const LinearTarget& t) { return t.buffer == buffer && !t.accumulate; });
        default:
            return false;
    }
}

bool reads(const Op& op, int buffer) {
    const bool added_to = std::any_of(op.targets.begin(), op.targets.end(),
                                      [&](const LinearTarget& t) { return t.buffer == buffer && t.accumulate; }) ||
                          ((op.accumulate || op.kind == Op::kAdapt || op.kind == Op::kSteer) && op.target == buffer);
    return op.source == buffer || op.second == buffer || op.third == buffer || op.fourth == buffer || added_to;
}

// Whether nothing reads what operation i leaves in the buffer.
bool ends_at(const std::vector<Op>& ops, std::size_t i, int buffer) {
    for (std::size_t j = i + 1; j < ops.size(); j++) {
        if (reads(ops[j], buffer)) return false;
        if (writes(ops[j], buffer)) return true;
    }
    return true;
}

// Marks the operations that become part of a product beside them.
void fuse(const Model& model, std::vector<Plan>& plan) {
    const std::vector<Op>& ops = model.ops;
    for (std::size_t i = 0; i + 1 < ops.size(); i++) {
        const Op &op = ops[i], &next = ops[i + 1];
        const bool product = next.kind == Op::kLinear || next.kind == Op::kLogits;
        const bool to_narrow =
            op.kind == Op::kNorm && op.heads == 0 && !op.centered && !at(model.buffers, op.target).wide;
        if (product && to_narrow && next.source == op.target && ends_at(ops, i + 1, op.target)) {
            plan[i].skip = true;
            plan[i + 1].norm = static_cast<int>(i);
        }
        if (op.kind != Op::kLinear || next.kind != Op::kGate || op.targets.size() != 2) continue;
        if (has_wide_codes(model.scheme)) continue;  // its products stand for themselves
        const LinearTarget &first = op.targets[0], &second = op.targets[1];
        const bool both = (first.buffer == next.source && second.buffer == next.second) ||
                          (first.buffer == next.second && second.buffer == next.source);
        const bool alike =
            at(model.weights, first.weight)->matrix.rows == at(model.weights, second.weight)->matrix.rows;
        const bool gone = ends_at(ops, i + 1, next.source) && ends_at(ops, i + 1, next.second);
        if (both && alike && gone && !first.accumulate && !second.accumulate && next.target != op.source) {
            plan[i + 1].skip = true;
            plan[i].gate = static_cast<int>(i + 1);
        }
    }
}

bool reads_other_rows(const Op& op) {
    return op.kind == Op::kAttend || op.kind == Op::kConvolve || op.kind == Op::kConvolveSilu || op.kind == Op::kScan ||
           op.kind == Op::kDelta || op.kind == Op::kSelective || op.kind == Op::kRecurrence ||
           op.kind == Op::kTrapezoidal;
}

// Finds the last of these, behind which each row goes its own way to its logits.
void narrow(const Model& model, std::vector<Plan>& plan) {
    const std::vector<Op>& ops = model.ops;
    std::size_t last = ops.size();
    while (last > 0 && !reads_other_rows(ops[last - 1])) {
        const Op& op = ops[--last];
        if (op.kind == Op::kEmbed || op.kind == Op::kRope) return;
    }
    if (last == 0) return;
    plan[--last].last = true;
    for (int b = 0; b < static_cast<int>(model.buffers.size()); b++)
        if (!ends_at(ops, last, b)) plan[last].live.push_back(b);
}

// How threads have shared a buffer since they met: it is there for everybody, or each has its rows, or its heads of so
// many; or, of a buffer that is read, in several of these ways.
constexpr int kAll = 0, kRows = -1, kSeveral = -2;

// Follows the program and notes where an operation would read what another thread has written, or write what another
// may still be reading.
class Follower {
public:
    explicit Follower(const Model& model)
        : model_(model),
          written_(model.buffers.size(), kAll),
          read_(model.buffers.size(), kAll),
          angles_(model.rotations.size(), kRows) {}

    void run(std::vector<Plan>& plan) {
        for (std::size_t i = 0; i < plan.size(); i++)
            if (!plan[i].skip) take(model_.ops[i], plan[i]);
    }

private:
    void take(const Op& op, Plan& plan) {
        switch (op.kind) {
            case Op::kEmbed:
                share(plan, kRows, {}, op.target);
                break;
            case Op::kNorm:
                share(plan, op.heads ? op.heads : kRows, {op.source}, op.target);
                break;
            case Op::kGather:
            case Op::kHadamard:
            case Op::kMultiply:
                share(plan, kRows, {op.source}, op.target);
                break;
            case Op::kAdapt:
                demand(plan, kAll, {op.source, op.target});
                break;
            case Op::kSteer:
                share(plan, kRows, {}, op.target);
                break;
            case Op::kAllGather:  // waits before and behind
                all();
                break;
            case Op::kRope:
                if (at(angles_, op.weight) != kAll) meet(plan);
                share(plan, op.heads, {}, op.source);
                break;
            case Op::kLinear:
                product(op, plan);
                break;
            case Op::kAttend:
                demand(plan, op.kv_heads, {op.second, op.third});
                all();
                break;
            case Op::kConvolve:
            case Op::kConvolveSilu:
                demand(plan, kRows, {op.source});
                all();
                if (plan.last) break;  // they wait behind it
                at(read_, op.source) = at(written_, op.target) = kRows;
                break;
            case Op::kScan:
            case Op::kRecurrence:
                demand(plan, kRows, {op.source, op.second});
                all();
                break;
            case Op::kDelta:
                demand(plan, kRows, {op.source, op.second, op.third});
                all();
                break;
            case Op::kTrapezoidal:
                demand(plan, kRows, {op.source, op.second, op.third, op.fourth});
                all();
                break;
            case Op::kSelective:
                demand(plan, kRows, {op.source, op.third, op.fourth});
                demand(plan, kAll, {op.second});
                all();
                break;
            case Op::kGate:
                share(plan, kRows, {op.source, op.second < 0 ? op.source : op.second}, op.target);
                break;
            case Op::kExperts:
                demand(plan, kRows, {op.source, op.second});
                all();
                break;
            case Op::kLogits:
                demand(plan, kAll, {source(op, plan)});
                plan.whole = true;
                break;
        }
    }

    int source(const Op& op, const Plan& plan) const {
        return plan.norm < 0 ? op.source : at(model_.ops, plan.norm).source;
    }

    void product(const Op& op, Plan& plan) {
        const int from = source(op, plan);
        demand(plan, kRows, {from});
        // A thread that does not wait for the others may write while they are still reading.
        const auto unused = [&](int buffer) {
            return buffer != from && at(written_, buffer) == kAll && at(read_, buffer) == kAll;
        };
        plan.whole = at(written_, from) == kAll;
        for (const LinearTarget& target : op.targets) plan.whole = plan.whole && unused(target.buffer);
        if (plan.gate >= 0) plan.whole = plan.whole && unused(at(model_.ops, plan.gate).target);
        all();
    }

    // These are read, and all threads meet first unless each finds its share of them.
    void demand(Plan& plan, int how, std::initializer_list<int> buffers) {
        for (const int buffer : buffers)
            if (at(written_, buffer) != kAll && at(written_, buffer) != how) meet(plan);
    }
    // Each thread reads its share of some, and writes that of another, which it may read too.
    void share(Plan& plan, int how, std::initializer_list<int> sources, int target) {
        demand(plan, how, sources);
        demand(plan, how, {target});
        if (at(read_, target) != kAll && at(read_, target) != how) meet(plan);
        for (const int buffer : sources) at(read_, buffer) = either(at(read_, buffer), how);
        at(written_, target) = how;
    }
    static int either(int before, int how) { return before == kAll || before == how ? how : kSeveral; }
    void meet(Plan& plan) {
        plan.meet = true;
        all();
    }
    void all() {
        for (std::vector<int>* known : {&written_, &read_, &angles_}) std::fill(known->begin(), known->end(), kAll);
    }

    const Model& model_;
    std::vector<int> written_, read_, angles_;
};

}  // namespace

std::vector<Plan> make_plan(const Model& model) {
    std::vector<Plan> plan(model.ops.size());
    fuse(model, plan);
    narrow(model, plan);
    Follower(model).run(plan);
    return plan;
}

}  // namespace intact
