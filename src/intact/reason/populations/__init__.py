"""Populations of partial texts: pure functions that weight, resample, allocate and choose among them.

Particles, nodes and arms are identified by index. Randomness comes only from an explicit key
(numerics.sampling.branch_key, `Problem.key`), so results replay bit for bit.
"""
