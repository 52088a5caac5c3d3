"""Real model files, where the machine has them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

FILES = {
    "smollm2-135m": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen-coder-0.5b": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "qwen-coder-1.5b": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3-270m": "gemma-3-270m-q4_k_m.gguf",
}


def first_always(names: Iterable[str]) -> list[Any]:
    """Parameters of a test of real models: the first is always run, the others by `.ci/nightly long`."""
    first, *others = names
    return [first, *(pytest.param(name, marks=pytest.mark.nightly) for name in others)]


def real_model(name: str) -> Path:
    """Path of a real model file; the test is skipped where it is absent."""
    folder = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
    path = folder / FILES[name]
    if not path.is_file():
        pytest.skip(f"needs the model file {path} (INTACT_MODELS names the folder)")
    return path
