// `_native.kernels.meet`: runs the thread pool in isolation, for tests.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_pool(nanobind::module_& m);

}  // namespace intact
