"""Reasoning methods, one per file; functions decorated with `intact.reason.method` are discovered automatically."""
