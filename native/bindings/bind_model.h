// The native executor for Python: Model, its program, and the step.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_model(nanobind::module_& m);

}  // namespace intact
