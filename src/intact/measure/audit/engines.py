"""Recognise an engine by the name that a log gives it."""

from __future__ import annotations

_NAMES = {"vllm": "vllm", "llama": "llama.cpp", "transformers": "transformers"}
"""By what a name holds; an engine stands before the model that some write behind it (``vllm, Llama-3``)."""


def family(engine: str) -> str:
    """Return the engine among those whose habits are known; empty for another."""
    return next((name for part, name in _NAMES.items() if part in engine.lower()), "")
