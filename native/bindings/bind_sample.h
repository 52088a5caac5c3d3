// Draws and log-probabilities of many rows for Python, on a model's threads.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

void bind_sample(nanobind::module_& m);

}  // namespace intact
