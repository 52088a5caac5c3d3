"""The normative integer arithmetic: short, slow NumPy that executors equal bit for bit (docs/spec/numerics.md)."""

VERSION = "1"
"""The version of the arithmetic; changing any bit of a result requires a new one."""
