// Which operations are taken together, and where threads wait for each other.
#pragma once

#include <vector>

#include "runtime/model.h"

namespace intact {

// By operation, for runs of the profile int8.
std::vector<Plan> make_plan(const Model& model);

}  // namespace intact
