// `_native.kernels`: every kernel of every tier as a separate function, for tests, known-answer vectors and
// measurements.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_kernels(nanobind::module_& m);

}  // namespace intact
