"""Laws of scaling: what more samples would buy, fitted to counts and told with how sure that is.

A module each for the curve `exp(a k^b)`, populations of problems, extrapolation, saturation, imperfect verifiers, and
the frontier of accuracy and cost. Which method suits which difficulty is learnt in `intact.reason.choice`.
"""
