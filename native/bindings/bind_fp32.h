// The fp32 kernels as Python functions on NumPy arrays, for tests: submodule fp32.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_fp32(nanobind::module_& module);

}  // namespace intact
