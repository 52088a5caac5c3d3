"""Scaling laws: coverage over samples, saturation, imperfect verifiers, and the frontier of accuracy and cost.

`sample`, `curve` and `resampling` prepare counts; `kumaraswamy`, `population`, `saturation`, `revision` and `verifier`
are laws, which `least_squares` and `learning_curve` fit and `extrapolation` extends; `frontier` and `regret` compare
settings by cost.
"""
