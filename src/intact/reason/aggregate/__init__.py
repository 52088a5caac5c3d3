"""From many samples to one answer: pure functions on arrays, each with its paper's formula and its tie rule.

An answer is any hashable value; None means that a sample has none, and does not vote. Samples are named by their place.
"""
