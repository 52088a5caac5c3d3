"""Theorem proving: first-order logic, a built-in prover, external provers behind one interface, forward deduction.

`formula`, `clauses`, `tptp` and `smtlib` read and write logic; `own` and `search` implement the built-in prover,
`provers` runs external ones, `assistants` contains proof assistants, and `deduction` forward deduction; `verdict` is
their common result. `formalise`, `premises` and `mutations` make and vary problems; `inequalities` and `polynomials`
prove inequalities.
"""
