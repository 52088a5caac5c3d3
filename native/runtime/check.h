// Operations that come from outside the core, from Python or JavaScript.
#pragma once

#include "runtime/model.h"

namespace intact {

// Refuses an operation that names buffers, weights or columns that are not there, or numbers out of their bounds;
// throws std::invalid_argument.
void check(const Model& model, const Op& op);

}  // namespace intact
