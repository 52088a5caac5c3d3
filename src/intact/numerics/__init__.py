"""The normative integer arithmetic: slow, short NumPy that every executor equals bit for bit (docs/numerics.md)."""

VERSION = "1"
"""The version of the arithmetic: any change of a bit is a new one."""
