"""Sweeps: search for settings that match a baseline's accuracy with fewer tokens."""
