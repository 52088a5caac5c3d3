"""Pooling: which rows of a text an embedding model makes its vector of, as its files state it."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from intact.formats import Checkpoint

Pooling = Literal["last", "mean", "cls", "rank"]

_GGUF: Final[dict[object, Pooling]] = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""Values of `pooling_type` (llama.cpp, llama_pooling_type); 0 is none."""
_MODES: Final[dict[str, Pooling]] = {
    "lasttoken": "last", "mean_tokens": "mean", "mean": "mean", "cls_token": "cls", "cls": "cls",
}  # fmt: skip
"""Modes of Sentence Transformers: in older files each a key `pooling_mode_NAME`, in newer ones `pooling_mode`."""


def read_pooling(checkpoint: Checkpoint) -> Pooling | None:
    """Return how a checkpoint's texts become vectors, or None if its files name no way: it is no embedding model.

    GGUF files have `ARCHITECTURE.pooling_type`; folders a `modules.json` of Sentence Transformers, which names the
    folder of the pooling's `config.json`. Files of another form count as none.
    """
    if checkpoint.format == "gguf":
        architecture = checkpoint.metadata.get("general.architecture")
        return _GGUF.get(checkpoint.metadata.get(f"{architecture}.pooling_type"))
    for module in _json(checkpoint, "modules.json") or ():
        if isinstance(module, dict) and str(module.get("type")).endswith(".Pooling"):
            settings = _json(checkpoint, f"{module.get('path')}/config.json")
            if not isinstance(settings, dict):
                return None
            modes = [mode for mode in _MODES if settings.get(f"pooling_mode_{mode}") is True]
            return _MODES.get(str(settings.get("pooling_mode", modes[0] if len(modes) == 1 else "")))
    return None


def _json(checkpoint: Checkpoint, name: str) -> Any:
    """Read a file of the folder; None where there is none, or it is no JSON, or no file of this folder."""
    path = (checkpoint.folder / name).resolve()
    if not path.is_relative_to(checkpoint.folder.resolve()):
        return None
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
