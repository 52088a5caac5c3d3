// factor_upper and round_columns for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_solve(nanobind::module_& m);

}  // namespace intact
