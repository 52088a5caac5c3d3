"""Recognise an engine by its name in a log."""

from __future__ import annotations

_NAMES = {"vllm": "vllm", "llama": "llama.cpp", "transformers": "transformers"}
"""Families by a part of the engine's name; the engine precedes the model that some logs append (``vllm, Llama-3``)."""


def family(engine: str) -> str:
    """Return the family of an engine with known behaviour; empty for any other engine."""
    return next((name for part, name in _NAMES.items() if part in engine.lower()), "")
