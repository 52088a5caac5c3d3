"""Read which layers use a sliding window and which have no positions, from GGUF metadata or config.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from intact.checkpoints.formats.metadata import Metadata


def all_but_each(every: int, layers: int) -> tuple[bool, ...]:
    """Return true for all layers except every n-th; if `every` is 0, true for all layers."""
    return tuple(not every or (i + 1) % every != 0 for i in range(layers))


def read_gguf_local_layers(m: Metadata, layers: int, every: int) -> tuple[bool, ...]:
    """Read which layers are local: from a list, or all but every n-th, with `every` as the default for n."""
    key = "attention.sliding_window_pattern"
    value = m.get(key)
    if value is None or isinstance(value, int):
        return all_but_each(every if value is None else m.integer(key), layers)
    flags = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(flags, list | tuple) or len(flags) != layers or not all(flag in (True, False) for flag in flags):
        m.refuse(key, f"an integer, or true or false for each of {layers} layers", value)
    return tuple(bool(flag) for flag in flags)


def per_layer(m: Metadata, key: str, layers: int) -> tuple[int, ...]:
    """Read a size per layer: a list, or one number for all layers."""
    value = m.get(key)
    if not isinstance(value, list | tuple | np.ndarray):
        return (m.integer(key),) * layers
    sizes = [int(size) for size in value]
    if len(sizes) != layers or min(sizes) < 1:
        m.refuse(key, f"a positive integer, or one for each of {layers} layers", sizes)
    return tuple(sizes)


def read_hf_local_layers(m: Metadata, layers: int, every: int) -> tuple[bool, ...]:
    """Read which layers are local: those in `layer_types`, else all but every n-th.

    `layer_types` must be validated first (`Decoder.read_hf`). A pattern may also be written as letters, such as LLLG
    for three local layers and a global one.
    """
    if (kinds := m.get("layer_types")) is not None:
        return tuple(kind == "sliding_attention" for kind in kinds)
    key = "sliding_window_pattern" if m.get("sliding_window_pattern") is not None else "_sliding_window_pattern"
    value = m.get(key)
    if isinstance(value, str):
        if not value or not set(value) <= {"L", "G"}:
            m.refuse(key, "an integer, or a string of the letters L and G", value)
        return tuple(value[i % len(value)] == "L" for i in range(layers))
    return all_but_each(every if value is None else m.integer(key), layers)


def read_hf_unrotated_layers(m: Metadata, layers: int, every: int) -> tuple[int, ...]:
    """Read which layers have no positions: those with 0 in `no_rope_layers`, else every n-th; none if `every` is 0."""
    if not every:
        return ()
    key = "no_rope_layers"
    flags: Any = m.get(key)
    if flags is None:
        return each(m.integer("no_rope_layer_interval", every), layers)
    if not isinstance(flags, list) or len(flags) < layers or not all(flag in (0, 1) for flag in flags):
        m.refuse(key, f"0 or 1 for each of {layers} layers", flags)
    return tuple(i for i in range(layers) if not flags[i])


def each(every: int, layers: int) -> tuple[int, ...]:
    """Return every n-th layer; none if `every` is 0."""
    return tuple(range(every - 1, layers, every)) if every else ()


def global_layers(local: tuple[bool, ...]) -> tuple[int, ...]:
    """Return the layers that are not local."""
    return tuple(i for i, is_local in enumerate(local) if not is_local)
