// Kernels of tier avx512.
