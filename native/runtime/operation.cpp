#include "runtime/operation.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "runtime/model.h"

namespace intact {
namespace {

const Operation* table = nullptr;  // a list: it exists before any operation is constructed, and needs no memory

}  // namespace

Operation::Operation(std::string_view name_) noexcept : name(name_), next_(table) { table = this; }

const Operation& Operation::find(std::string_view name) {
    std::vector<std::string_view> names;
    for (const Operation* one = table; one != nullptr; one = one->next_) {
        if (one->name == name) return *one;
        names.push_back(one->name);
    }
    std::sort(names.begin(), names.end());
    std::string message = "unknown operation " + std::string(name) + ": it should be one of";
    for (const std::string_view one : names) message.append(one == names.front() ? " " : ", ").append(one);
    throw std::invalid_argument(message);
}

void Operation::enter(Model&, const Op&) const {}
void Operation::make_room(Model&, Step&, const Op&) const {}
std::size_t Operation::shares(const Op&) const { return 1; }
WeightUse Operation::weights(const Op&) const { return {}; }

bool Operation::writes(const Op& op, int buffer) const { return op.target == buffer && !op.accumulate; }
bool Operation::reads(const Op& op, int buffer) const {
    return op.source == buffer || op.second == buffer || op.third == buffer || op.fourth == buffer ||
           (op.accumulate && op.target == buffer);
}

void Operation::fuse(const Model&, std::size_t, std::vector<Plan>&) const {}
bool Operation::takes_gate(const Model&, const Op&, const Op&) const { return false; }

}  // namespace intact
