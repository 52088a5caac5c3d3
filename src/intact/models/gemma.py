"""The parts that Gemma 2 and Gemma 3 share: four norms a layer, tanh GELU, a scaled embedding, scaled scores."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from intact.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES, NORMS_AFTER
from intact.models.program import Embed


class GemmaDecoder(Decoder):
    """Results pass a norm before the residual sum; some layers see a window."""

    hf_names = HF_NAMES | NORMS_AFTER | {"ffn_norm": "pre_feedforward_layernorm"}
    norms = "both"
    hf_gain_offset = 1.0
    hf_activation = ("hidden_activation", "gelu_pytorch_tanh")
    activation = "gelu"
    has_local_layers = True

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read also the scale of the scores."""
        return replace(super().read_hf(m), query_width=m.number("query_pre_attn_scalar", least=1.0, most=1e6))

    def embed(self) -> None:
        """Append the embedding times sqrt(width)."""
        width = self.config.width
        scale = Fraction(math.isqrt(width << 60), 1 << 30)
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, width), scale))
