"""How long a test waits for what must happen: only one that fails waits so long, on the busiest machine too."""

PATIENCE = 300.0
"""Seconds."""
