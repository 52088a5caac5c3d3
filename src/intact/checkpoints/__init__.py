"""Checkpoints: the files that models come in, the names that they go by, and how they are fetched."""
