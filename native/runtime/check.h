// Operations that come from outside the core, from Python or JavaScript.
#pragma once

#include "runtime/model.h"

namespace intact {

// Adds an operation to a program. Refuses one that names buffers, weights or columns that are not there, or numbers out
// of their bounds; throws std::invalid_argument.
void add_op(Model& model, const Op& op);

}  // namespace intact
