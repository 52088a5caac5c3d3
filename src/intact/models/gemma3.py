"""Gemma 3: local and global layers, four norms per layer, head norms, tanh GELU (arXiv 2503.19786)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.gemma import GemmaDecoder
from intact.numerics.rope import rotation


class Gemma3(GemmaDecoder):
    """Local layers use a window and have their own rotary base; results are normed before the residual sum."""

    gguf = "gemma3"
    hf = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
    head_norms = True
    local_but_each = 6
    gguf_window = 0
    layers_of_27b = 62
    hf_defaults = {  # Gemma3TextConfig's, which published files rely on
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "rope_theta": 1e6,
    }
    sample = {"attention.sliding_window": 24, "attention.sliding_window_pattern": 2}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including the rotary base of local layers."""
        base = m.number("rope.freq_base_swa", 10000.0, least=1.0)
        return replace(super().read_gguf(m), rope_local_base=base)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the rotary base of local layers."""
        config = super().read_hf(m)
        return replace(config, rope_local_base=config.rope_local_base or 10000.0)

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies of global layers, with the checkpoint's scaling, and of local layers."""
        c = self.config
        return (
            rotation(c.rope_base, c.rope_width, c.rope_scaling),
            rotation(c.rope_local_base or 10000.0, c.rope_width, {}),
        )

    def rotary(self, i: int) -> int:
        """Return 1 for local layers, 0 for global ones."""
        return int(self.config.is_local[i])
