"""Populations of texts on their way: pure functions that weigh, resample, allot and choose among them.

Particles, nodes and arms are named by their place. What is random takes an explicit key (numerics.sampling.branch_key,
`Problem.key`) and nothing else, so that it replays to the bit.
"""
