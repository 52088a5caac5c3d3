"""Hybrid models: read from GGUF metadata or config.json which layers have attention and which have something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intact.checkpoints.formats.metadata import Metadata

_KV_HEADS = "attention.head_count_kv"


class HybridLayers(NamedTuple):
    """The layers of a hybrid model.

    Attributes
    ----------
    others : tuple of int
        Layers without attention.
    metadata : Metadata
        The file's metadata, rewritten as if every layer had attention.
    """

    others: tuple[int, ...]
    metadata: Metadata


def read_gguf_layers(m: Metadata, other: str) -> HybridLayers:
    """Read which layers have no KV heads; `other` is the name of their replacement in error messages.

    Raises
    ------
    ModelError
        If no layer has attention, or layers differ in their number of KV heads.
    """
    layers = m.integer("block_count", most=1024)
    heads = m.numbers(_KV_HEADS, layers)
    counts = sorted({int(n) for n in heads if isinstance(n, int | np.integer) and n})
    if len(counts) != 1 or not all(isinstance(n, int | np.integer) and n in (0, counts[0]) for n in heads):
        m.refuse(
            _KV_HEADS,
            f"0 for layers with {other}, and for at least one other layer, all with the same number",
            heads,
        )
    common = Metadata({**m.values, m.prefix + _KV_HEADS: counts[0]}, m.source, prefix=m.prefix)
    return HybridLayers(tuple(i for i, n in enumerate(heads) if n == 0), common)


def read_hf_layers(
    m: Metadata, kinds: object, attention: Sequence[str], others: Sequence[str], key: str = "layer_types"
) -> HybridLayers:
    """Read which layers have no attention from a list with one word per layer.

    Parameters
    ----------
    kinds : list of str
        The words; `key` names the list in error messages.
    attention, others : sequences of str
        The words for layers with attention, and for those without.
    """
    layers = m.integer("num_hidden_layers", most=1024)
    known = (*others, *attention)
    if not (isinstance(kinds, list) and len(kinds) == layers and all(kind in known for kind in kinds)):
        m.refuse(key, f"a list with {' or '.join(known)} for each of {layers} layers", kinds)
    common = Metadata({**m.values, "layer_types": None}, m.source, prefix=m.prefix)
    return HybridLayers(tuple(i for i, kind in enumerate(kinds) if kind in others), common)
