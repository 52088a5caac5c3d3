"""Checkpoints: file formats of models, names of models, and downloads."""
