"""Executors run Programs: `reference` in NumPy defines the bits, `native` in C++ equals it."""
