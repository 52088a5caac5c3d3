"""Measuring a model: perplexity of a text, and what later issues add."""
