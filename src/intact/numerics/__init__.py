"""The normative integer arithmetic: slow, short NumPy that every executor equals bit for bit (docs/numerics.md)."""
