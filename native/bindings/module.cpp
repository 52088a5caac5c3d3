#include <nanobind/nanobind.h>

#include "bindings/bind_fp32.h"
#include "bindings/bind_kernels.h"
#include "bindings/bind_model.h"
#include "bindings/bind_sample.h"
#include "bindings/bind_solve.h"
#include "bindings/bind_weight.h"

NB_MODULE(_native, m) {
    m.doc() = "Native executor of intact.";
    intact::bind_solve(m);
    intact::bind_weights(m);
    intact::bind_fp32(m);
    intact::bind_model(m);
    intact::bind_sample(m);
    intact::bind_kernels(m);
}
