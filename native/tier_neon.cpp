// Kernels of tier neon.
