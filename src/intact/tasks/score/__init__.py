"""Scorers and readers of texts: their answers, the correctness of their steps, the model's certainty, reward models."""
