"""Proving: first-order logic, a small built-in prover, external provers behind one interface, and forward deduction.

`formula`, `clauses`, `tptp` and `smtlib` read and write logic; `own` and `search` are the built-in prover, `provers`
the external ones, `assistants` proof assistants, `deduction` forward deduction; `verdict` is their common result.
`formalise`, `premises` and `mutations` make and vary problems; `inequalities` and `polynomials` prove inequalities.
"""
