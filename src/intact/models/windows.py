"""Layers that attend only to a window of positions: which they are, read from GGUF metadata or from config.json."""

from __future__ import annotations

import numpy as np

from intact.formats.metadata import Metadata


def all_but_each(every: int, layers: int) -> tuple[bool, ...]:
    """Return true for all layers but each n-th; every 0 means all layers."""
    return tuple(not every or (i + 1) % every != 0 for i in range(layers))


def read_gguf_local_layers(m: Metadata, layers: int, every: int) -> tuple[bool, ...]:
    """Read which layers are local: those that a list says, or all but each n-th, `every` where the file says none."""
    key = "attention.sliding_window_pattern"
    value = m.get(key)
    if value is None or isinstance(value, int):
        return all_but_each(every if value is None else m.integer(key), layers)
    flags = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(flags, list | tuple) or len(flags) != layers or not all(flag in (True, False) for flag in flags):
        m.refuse(key, f"an integer or true or false for each of {layers} layers", value)
    return tuple(bool(flag) for flag in flags)


def read_hf_local_layers(m: Metadata, layers: int, every: int) -> tuple[bool, ...]:
    """Read which layers are local: those that `layer_types` says, else all but each n-th.

    `layer_types` must be checked before (`Decoder.read_hf`).
    """
    if (kinds := m.get("layer_types")) is not None:
        return tuple(kind == "sliding_attention" for kind in kinds)
    key = "sliding_window_pattern" if m.get("sliding_window_pattern") is not None else "_sliding_window_pattern"
    return all_but_each(every if m.get(key) is None else m.integer(key), layers)
