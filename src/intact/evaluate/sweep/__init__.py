"""Sweeps: searches for settings that are about as accurate as a baseline for fewer tokens."""
