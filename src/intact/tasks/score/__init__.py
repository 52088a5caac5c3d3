"""Scorers, readers and judges of completions: answers, correctness of steps, certainty of the model, reward models."""
