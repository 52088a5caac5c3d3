"""Reasoning methods, one per file; anything decorated with `intact.reason.method` here is discovered."""
