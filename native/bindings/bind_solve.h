// factor_upper, round_columns and descend for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_solve(nanobind::module_& m);

}  // namespace intact
