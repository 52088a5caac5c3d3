"""The normative integer arithmetic: short, slow NumPy code that executors match bit for bit (docs/spec/numerics.md).

Each file defines one operation or one family: weights (`weights`, `weight_formats`, `encode`, `dequantize`,
`hadamard`), products (`activations`, `matmul`, `outliers`, `sparsity`, `exact_product`), rows (`norm`, `rope`, `gate`,
`multiply`, `soft_cap`, `gather`, `scatter`, `functions`), attention (`attention`, `kv_codecs`), recurrent layers
(`convolve`, `scan`, `selective`, `trapezoidal`, `delta`, `hgrn`), `experts`, draws (`sampling`, `mix`), and the profile
`fp32`. `fixed`, `integers` and `grids` are shared; `profiles` parses profile names.
"""

VERSION = "1"
"""The version of the arithmetic; changing any bit of a result requires a new one."""
