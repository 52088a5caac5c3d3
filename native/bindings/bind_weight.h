// Weight and convert() for Python.
#pragma once

#include <nanobind/nanobind.h>

namespace intact {

// Registers the class Weight and convert(kind, data, rows, columns, bits, threads).
void bind_weights(nanobind::module_& m);

}  // namespace intact
