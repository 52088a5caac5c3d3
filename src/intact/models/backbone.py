"""State-space layers that safetensors have below a `backbone`, with others or alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.formats.metadata import Metadata
from intact.models.config import MOST_CONTEXT, Config
from intact.models.names import HF_NAMES
from intact.models.program import Buffer
from intact.models.state_spaces import StateSpaces, scan_bare_names, scan_names

_NO_ATTENTION = {"head_count": 1, "head_count_kv": 1, "key_length": 2, "value_length": 2}
BACKBONE_NAMES = HF_NAMES | {"token_embd": "model.embeddings", "output_norm": "model.norm_f", "attn_norm": "norm"}


class BackboneStateSpaces(StateSpaces):
    """Those whose folders name the decoder `backbone`, its layers' one norm `norm`, and what follows it `mixer`."""

    hf_beginning = "backbone."
    hf_names = BACKBONE_NAMES | scan_names("mixer")
    hf_bare = scan_bare_names("mixer")
    hf_eps = "layer_norm_epsilon"
    fused = {"ssm_in": "mixer.in_proj"}


class ScansAlone(BackboneStateSpaces):
    """Those without attention and feed-forward nets."""

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read what is shared with other decoders."""
        own = {f"{m.prefix}attention.{key}": value for key, value in _NO_ATTENTION.items()}
        own |= {m.prefix + "feed_forward_length": 1, m.prefix + "rope.dimension_count": 2}
        return super().read_gguf(Metadata({**m.values, **own}, m.source, prefix=m.prefix))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json."""
        own: dict[str, Any] = {
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_dim": 2,
            "intermediate_size": 1,
            "max_position_embeddings": m.get("max_position_embeddings", MOST_CONTEXT),
            "rope_theta": None,
        }
        return super().read_hf(Metadata({**m.values, **own}, m.source))

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return none: positions are not rotated."""
        return ()

    def buffers(self) -> dict[str, Buffer]:
        """Return the residual stream, and the rows of a layer."""
        width = self.config.width
        return {"x": Buffer(width, wide=True), "normed": Buffer(width), **self.scan_buffers()}

    def layer(self, i: int) -> None:
        """Append a norm and a layer with a scan."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.scan(i)
        self.project_scan(i, "x", accumulate=True)
