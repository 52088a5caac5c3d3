"""Proving: first-order logic, a small prover that always runs, real provers behind one interface, forward deduction."""
