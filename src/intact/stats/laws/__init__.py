"""Laws of scaling: coverage over samples, saturation, imperfect verifiers, the frontier of accuracy and cost."""
