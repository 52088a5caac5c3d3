#include "runtime/plan.h"

#include <algorithm>

#include "runtime/step.h"

namespace intact {
namespace {

// Finds the last operation that reads other rows; after it, each row proceeds independently to its logits.
void narrow(const Model& model, std::vector<Plan>& plan) {
    const std::vector<Op>& ops = model.ops;
    std::size_t last = ops.size();
    while (last > 0 && !ops[last - 1].kind->reads_other_rows())
        if (ops[--last].kind->reads_places()) return;
    if (last == 0) return;
    plan[--last].last = true;
    for (int b = 0; b < static_cast<int>(model.buffers.size()); b++)
        if (!ends_at(ops, last, b)) plan[last].live.push_back(b);
}

}  // namespace

bool ends_at(const std::vector<Op>& ops, std::size_t i, int buffer) {
    for (std::size_t j = i + 1; j < ops.size(); j++) {
        if (ops[j].kind->reads(ops[j], buffer)) return false;
        if (ops[j].kind->writes(ops[j], buffer)) return true;
    }
    return true;
}

std::vector<Plan> make_plan(const Model& model) {
    std::vector<Plan> plan(model.ops.size());
    for (std::size_t i = 0; i < model.ops.size(); i++) model.ops[i].kind->fuse(model, i, plan);
    narrow(model, plan);
    Follower(model).run(plan);
    return plan;
}

Follower::Follower(const Model& model_)
    : model(model_),
      written_(model_.buffers.size(), kAll),
      read_(model_.buffers.size(), kAll),
      angles_(model_.rotations.size(), kRows) {}

void Follower::run(std::vector<Plan>& plan) {
    for (std::size_t i = 0; i < plan.size(); i++)
        if (!plan[i].skip) model.ops[i].kind->follow(*this, model.ops[i], plan[i]);
}

void Follower::demand(Plan& plan, int how, std::initializer_list<int> buffers) {
    for (const int buffer : buffers)
        if (at(written_, buffer) != kAll && at(written_, buffer) != how) meet(plan);
}

void Follower::share(Plan& plan, int how, std::initializer_list<int> sources, int target) {
    demand(plan, how, sources);
    demand(plan, how, {target});
    if (at(read_, target) != kAll && at(read_, target) != how) meet(plan);
    for (const int buffer : sources) {
        int& before = at(read_, buffer);
        before = before == kAll || before == how ? how : kSeveral;
    }
    at(written_, target) = how;
}

void Follower::demand_angles(Plan& plan, int rotation) {
    if (at(angles_, rotation) != kAll) meet(plan);
}

void Follower::meet(Plan& plan) {
    plan.meet = true;
    all();
}

void Follower::all() {
    for (std::vector<int>* known : {&written_, &read_, &angles_}) std::fill(known->begin(), known->end(), kAll);
}

void Follower::all_but(int source, int target) {
    all();
    at(read_, source) = at(written_, target) = kRows;
}

int Follower::source(const Op& op, const Plan& plan) const {
    return plan.norm < 0 ? op.source : at(model.ops, plan.norm).source;
}

bool Follower::is_complete(int buffer) const { return at(written_, buffer) == kAll; }
bool Follower::is_idle(int buffer) const { return is_complete(buffer) && at(read_, buffer) == kAll; }

}  // namespace intact
