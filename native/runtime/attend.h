// The attend operation of the int8 profile.
#pragma once

#include "runtime/step.h"

namespace intact {

// One thread's part: it appends the keys and values of its rows to their pages, waits for the others, and attends for
// its share of the queries, those of the forest. All have finished when it returns.
void attend_int8(Model& model, Step& step, const Forest& forest, const Op& op, int thread, Share work);

}  // namespace intact
