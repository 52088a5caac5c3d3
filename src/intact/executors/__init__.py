"""Executors run Programs: `reference`, in NumPy, defines the bits; `native`, in C++, and `wgpu` reproduce them."""
