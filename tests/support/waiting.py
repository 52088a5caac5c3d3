"""The longest that a test waits for another thread or process: what takes longer hangs, however busy the machine is."""

PATIENCE = 300.0
"""Seconds."""
