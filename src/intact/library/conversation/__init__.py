"""Conversations with a model: what was said, its branches, and the file that keeps them."""
