"""Proving: first-order logic, a small built-in prover, external provers behind one interface, and forward deduction."""
