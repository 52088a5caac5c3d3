#include <nanobind/nanobind.h>

#include "bind_fp32.h"
#include "bind_kernels.h"
#include "bind_model.h"
#include "bind_sample.h"
#include "bind_weight.h"

NB_MODULE(_native, m) {
    m.doc() = "Native executor of intact.";
    intact::bind_weights(m);
    intact::bind_fp32(m);
    intact::bind_model(m);
    intact::bind_sample(m);
    intact::bind_kernels(m);
}
