"""Scaling laws: coverage over samples, saturation, imperfect verifiers, and the frontier of accuracy and cost."""
