"""Parts shared by Gemma 2 and Gemma 3: four norms per layer, tanh GELU, a scaled embedding, scaled scores."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder, NormPlaces, root
from intact.models.names import HF_NAMES, NORMS_AFTER
from intact.models.ops import Embed
from intact.models.windows import read_gguf_local_layers, read_hf_local_layers


class GemmaDecoder(Decoder):
    """Results are normed before the residual sum; some layers use a sliding window."""

    hf_names = HF_NAMES | NORMS_AFTER | {"ffn_norm": "pre_feedforward_layernorm"}
    norms: ClassVar[NormPlaces] = "both"
    hf_gain_offset = 1.0
    hf_activation = ("hidden_activation", "gelu_pytorch_tanh")
    activation = "gelu"
    has_local_layers = True

    gguf_window: ClassVar[int]
    """Window of local layers for GGUF files that specify none; 0: such files have no local layers."""
    layers_of_27b: ClassVar[int]
    """Layer count that identifies the 27B model, for which GGUF files imply a query width of width / heads."""

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including the window, the local layers and the scale of the scores."""
        config = super().read_gguf(m)
        window = m.integer("attention.sliding_window", cls.gguf_window, least=0)
        local = read_gguf_local_layers(m, config.layers, cls.local_but_each) if window else (False,) * config.layers
        wide = config.layers == cls.layers_of_27b
        return replace(
            config,
            window=window,
            local_layers=local,
            query_width=config.width / config.heads if wide else config.head_width,
        )

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the window, the local layers and the scale of the scores."""
        config = super().read_hf(m)
        local = read_hf_local_layers(m, config.layers, cls.local_but_each)
        return replace(
            config,
            window=m.integer("sliding_window") if any(local) else 0,
            local_layers=local,
            query_width=m.number("query_pre_attn_scalar", least=1.0, most=1e6),
        )

    def embed(self) -> None:
        """Append the embedding times sqrt(width)."""
        width = self.config.width
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, width), root(width)))
