"""Pooling: the rows from which an embedding model computes a text's vector, as specified in the model's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from intact.checkpoints.formats import Checkpoint

LAST: Final = "last"
"""Pooling that uses the state after the last token."""
POOLINGS: Final = {LAST: "last", "cls": "first", "mean": "all"}
"""Supported poolings, and the rows that each uses; generative models support only `LAST`, encoders all of them."""
_MODES: Final = {"lasttoken": LAST, "cls_token": "cls", "mean_tokens": "mean"}
"""Names of these poolings in Sentence Transformers."""
_GGUF: Final[dict[object, str]] = {1: "mean", 2: "cls", 3: LAST, 4: "rank"}
"""Values of `pooling_type` (llama.cpp, llama_pooling_type); 0 is none."""
_MODE: Final = "pooling_mode"
_CHANGES_NOTHING: Final = ("Transformer", "Pooling", "Normalize")
"""Sentence Transformers modules that do not change a vector of length 1."""


def read_pooling(checkpoint: Checkpoint) -> str | None:
    """Return a checkpoint's pooling, or None if its files specify none, i.e. it is not an embedding model.

    GGUF files have `ARCHITECTURE.pooling_type`; folders have a Sentence Transformers `modules.json`, which names the
    folder of the pooling's `config.json`. Only `POOLINGS` are supported; anything else is returned under its name in
    the files: another mode, several modes, or a module after the pooling that changes the vector.
    """
    if checkpoint.format == "gguf":
        architecture = checkpoint.metadata.get("general.architecture")
        return _GGUF.get(checkpoint.metadata.get(f"{architecture}.pooling_type"))
    listed = _json(checkpoint, "modules.json")
    modules = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    kinds = [str(one.get("type")).rpartition(".")[2] for one in modules]
    if "Pooling" not in kinds:
        return None
    if others := [kind for kind in kinds if kind not in _CHANGES_NOTHING]:
        return " and ".join(["Pooling", *others])
    settings = _json(checkpoint, f"{modules[kinds.index('Pooling')].get('path')}/config.json")
    modes = _modes(settings) if isinstance(settings, dict) else ()
    return _MODES.get(modes[0], modes[0]) if len(modes) == 1 else " and ".join(modes) or "Pooling"


def _modes(settings: dict[str, Any]) -> Sequence[str]:
    """Return the modes of a pooling: older files have one key per mode, newer ones a single key."""
    stated = settings.get(_MODE)
    if stated is not None:
        return [str(mode) for mode in stated] if isinstance(stated, list) else [str(stated)]
    return sorted(key.removeprefix(_MODE + "_") for key, on in settings.items() if key.startswith(_MODE) and on is True)


def _json(checkpoint: Checkpoint, name: str) -> Any:
    """Read a JSON file of the folder; None if it is missing, invalid, or outside the folder."""
    path = (checkpoint.folder / name).resolve()
    if not path.is_relative_to(checkpoint.folder.resolve()):
        return None
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
