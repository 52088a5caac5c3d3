// Kernels of tier avx2.
