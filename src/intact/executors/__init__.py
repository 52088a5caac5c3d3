"""Executors run Programs: `reference`, in NumPy, defines the bits, and `native`, in C++, reproduces them."""
