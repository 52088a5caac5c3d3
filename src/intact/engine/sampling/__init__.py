"""Sampling: parameters, and the rules that edit or mask a row of logits before each draw (docs/sampling.md)."""
