// Kernels of tier scalar.
