"""Decoders without attention; their files may omit the keys that describe attention."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import MOST_CONTEXT, Config
from intact.models.decoder import Decoder

_NO_ATTENTION = {"head_count": 1, "head_count_kv": 1, "key_length": 2, "value_length": 2}


class WithoutAttention(Decoder):
    """A decoder in which every layer has another operation instead of attention."""

    has_nets: ClassVar[bool] = True
    """If false, layers have no feed-forward networks either."""

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters common to decoders."""
        own: dict[str, Any] = {f"{m.prefix}attention.{key}": value for key, value in _NO_ATTENTION.items()}
        own |= {} if cls.has_nets else {m.prefix + "feed_forward_length": 1}
        own[m.prefix + "rope.dimension_count"] = 2
        return super().read_gguf(Metadata({**m.values, **own}, m.source, prefix=m.prefix))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        own: dict[str, Any] = {
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_dim": 2,
            **({} if cls.has_nets else {"intermediate_size": 1}),
            "max_position_embeddings": m.get("max_position_embeddings", MOST_CONTEXT),
            "rope_theta": None,
        }
        return super().read_hf(Metadata({**m.values, **own}, m.source))

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return no rotations: positions are not rotated."""
        return ()
