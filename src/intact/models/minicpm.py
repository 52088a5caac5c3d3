"""MiniCPM 1 and 2: Llama architecture with factors for embedding, residual sums and logits (arXiv 2404.06395)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config, exact
from intact.models.llama import Llama


class MiniCPM(Llama):
    """Results are multiplied by scale_depth / sqrt(layers), as a float32, as stored in GGUF files."""

    gguf = "minicpm"
    hf = ("MiniCPMForCausalLM",)
    hf_defaults = {"tie_word_embeddings": True}
    hf_refused = {"sparse_config": (), "num_experts": (0,)}
    multipliers = {
        "embedding_scale": ("embedding_scale", "scale_emb"),
        "residual_scale": ("residual_scale", "residual_scale"),
        "logit_scale": ("logit_scale", "logit_scale"),
    }
    sample = {"embedding_scale": 3.0, "residual_scale": 0.25, "logit_scale": 4.0}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Refuse files from older converters, which did not write the factors."""
        for key, _ in cls.multipliers.values():
            if m.get(key) is None:
                m.fail(key, "is missing; convert the model again with a newer llama.cpp")
        return super().read_gguf(m)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the factors that depend on depth and width."""
        return with_factors(super().read_hf(m), m.number("scale_depth", most=1e3), m.number("dim_model_base", most=1e6))


def with_factors(config: Config, depth: float, base: float) -> Config:
    """Return a configuration with the factors of residual sums (from the depth) and of logits (from the width)."""
    part, logits = np.float32(depth / math.sqrt(config.layers)), np.float32(config.width / base)
    return replace(config, residual_scale=exact(float(part)), logit_scale=1 / exact(float(logits)))
