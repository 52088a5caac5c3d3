"""The normative integer arithmetic: slow, short NumPy that every executor matches bit for bit (docs/numerics.md)."""

VERSION = "1"
"""The version of the arithmetic; changing any bit of a result requires a new one."""
