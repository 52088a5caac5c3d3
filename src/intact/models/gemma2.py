"""Gemma 2: local and global layers in turn, four norms a layer, soft caps of scores and logits (arXiv 2408.00118)."""

from __future__ import annotations

from dataclasses import replace

from intact.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.gemma import GemmaDecoder
from intact.models.windows import all_but_each, read_hf_local_layers


class Gemma2(GemmaDecoder):
    """Every other layer sees a window; scores and logits pass soft caps."""

    gguf = "gemma2"
    hf = ("Gemma2ForCausalLM",)
    soft_caps = (50.0, 30.0)
    hf_defaults = {  # Gemma2Config's
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    sample = {"attention.sliding_window": 24, "attn_logit_softcapping": 5.0}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read also the window, which files may leave out."""
        config = super().read_gguf(m)
        window = m.integer("attention.sliding_window", 4096, least=0)
        return replace(
            config,
            window=window,
            local_layers=all_but_each(2, config.layers) if window else (False,) * config.layers,
            query_width=config.width / config.heads if config.layers == 46 else config.head_width,  # 46: the 27B
        )

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read also the window."""
        config = super().read_hf(m)
        return replace(
            config, window=m.integer("sliding_window"), local_layers=read_hf_local_layers(m, config.layers, 2)
        )
