"""F32, F16 and BF16: one number per value."""

import numpy as np

from intact.numerics.weight_formats.definition import FloatFormat

F32 = FloatFormat("F32", 0, 4, lambda b: np.ascontiguousarray(b).view("<f4"))
F16 = FloatFormat("F16", 1, 2, lambda b: np.ascontiguousarray(b).view("<f2").astype(np.float32))
BF16 = FloatFormat(
    "BF16", 30, 2, lambda b: (np.ascontiguousarray(b).view("<u2").astype(np.uint32) << 16).view(np.float32)
)
