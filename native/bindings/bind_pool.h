// `_native.kernels.meet`: the pool by itself, for tests.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_pool(nanobind::module_& m);

}  // namespace intact
