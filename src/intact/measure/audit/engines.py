"""Recognise an engine from its name in a log."""

from __future__ import annotations

_NAMES = {"vllm": "vllm", "llama": "llama.cpp", "transformers": "transformers"}
"""Families by part of the engine's name; in logs that append the model, the engine comes first (``vllm, Llama-3``)."""


def family(engine: str) -> str:
    """Return the family of an engine with known behaviour; an empty string for any other engine."""
    return next((name for part, name in _NAMES.items() if part in engine.lower()), "")
