"""Gemma 3: local and global layers, four norms a layer, head norms, tanh GELU, scaled embedding (arXiv 2503.19786)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from intact.formats import Checkpoint
from intact.models.decoder import Decoder
from intact.models.program import Buffer, Embed
from intact.numerics.rope import rotation


class Gemma3(Decoder):
    """Local layers see a window and have a rotary base of their own; results pass a norm before the residual sum."""

    gguf = "gemma3"
    hf = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
    activation = "gelu"

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.gain_offset = 0.0 if self.config.from_gguf else 1.0

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Global layers (with the checkpoint's scaling), then local ones."""
        c = self.config
        return (
            rotation(c.rope_base, c.rope_width, c.rope_scaling),
            rotation(c.rope_local_base, c.rope_width, {}),
        )

    def buffers(self) -> dict[str, Buffer]:
        """One more wide row: a block's result before its norm."""
        return super().buffers() | {"result": Buffer(self.config.width, wide=True)}

    def embed(self) -> None:
        """Embedding times sqrt(width)."""
        width = self.config.width
        scale = Fraction(math.isqrt(width << 60), 1 << 30)
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, width), scale))

    def layer(self, i: int) -> None:
        """Norm, attention, norm, residual; norm, feed-forward, norm, residual."""
        c, p = self.config, f"blk.{i}."
        local = c.window_pattern[i]
        self.norm("x", "normed", p + "attn_norm.weight")
        self.attention(i, head_norms=True, rotary=int(local), window=c.window if local else 0)
        self.project(i, "result", accumulate=False)
        self.norm("result", "x", p + "post_attention_norm.weight", accumulate=True)
        self.norm("x", "normed", p + "ffn_norm.weight")
        self.feed_forward(i, "result", accumulate=False)
        self.norm("result", "x", p + "post_ffw_norm.weight", accumulate=True)
