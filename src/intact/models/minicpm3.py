"""MiniCPM 3: DeepSeek V2's latent attention, ordinary networks, MiniCPM's factors (arXiv 2404.06395)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

from intact.checkpoints.formats import Checkpoint
from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config, exact
from intact.models.deepseek2 import DeepseekV2
from intact.models.minicpm import with_factors
from intact.models.rotary import FACTORS

_EMBEDDING: Final = 12.0
_DEPTH: Final = 1.4
_BASE: Final = 256.0
"""Factors of the 4B model, which GGUF files do not contain."""


class MiniCPM3(DeepseekV2):
    """Rotary pairs are half the rotated part apart; frequencies are divided as in longrope."""

    gguf = "minicpm3"
    hf = ("MiniCPM3ForCausalLM",)
    hf_defaults: ClassVar[dict[str, Any]] = {
        "kv_lora_rank": 256,
        "q_lora_rank": 768,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "scale_emb": _EMBEDDING,
        "scale_depth": _DEPTH,
        "dim_model_base": _BASE,
        "tie_word_embeddings": True,
    }
    hf_refused: ClassVar[dict[str, tuple[object, ...]]] = {}
    gguf_interleaves = False
    hf_interleaves = False
    mixture = None
    sample: ClassVar[dict[str, Any]] = {
        "attention.head_count_kv": 3,
        "attention.kv_lora_rank": 64,
        "attention.q_lora_rank": 32,
        "attention.value_length": 16,
        "rope.dimension_count": 8,
    }

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the configuration; for a GGUF file, the tensors decide whether frequencies are divided."""
        config = super().read_config(checkpoint)
        if not config.from_gguf or not any(name in checkpoint.tensors for name in FACTORS):
            return config
        scaling = {"type": "longrope", "original": config.context, "attention_factor": 1.0}
        return replace(config, rope_scaling=scaling)

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the widths of latent attention; by default values are as wide as the model divided by its heads."""
        width = m.integer("embedding_length") // m.integer("attention.head_count", most=4096)
        values = {m.prefix + "attention.value_length": width, **m.values}
        config = super().read_gguf(Metadata(values, m.source, prefix=m.prefix))
        return with_factors(replace(config, embedding_scale=exact(_EMBEDDING)), _DEPTH, _BASE)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the factors."""
        given = {}
        if m.get("v_head_dim") is None:
            given["v_head_dim"] = m.integer("hidden_size") // m.integer("num_attention_heads", most=4096)
        config = super().read_hf(Metadata({**m.values, **given}, m.source))
        config = replace(config, embedding_scale=exact(m.number("scale_emb", most=4095.0)))
        return with_factors(config, m.number("scale_depth", most=1e3), m.number("dim_model_base", most=1e6))
