"""OLMo, first generation: Llama architecture, layer norms without gains (arXiv 2402.00838)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from intact.models.llama import Llama
from intact.models.ops import Norm


class Olmo(Llama):
    """GGUF files store query and key rows in the same order as Llama's. Models with clipped projections are refused."""

    gguf = "olmo"
    hf = ("OlmoForCausalLM",)
    hf_refused = {"clip_qkv": (0,)}
    layer_norms = True
    hf_eps = "layer_norm_eps"
    hf_defaults = {"layer_norm_eps": 1e-5}
    sample = {"attention.layer_norm_epsilon": 1e-5}

    def norm(self, source: str, target: str, gain: str, *_: Any, factor: Fraction = Fraction(1), **__: Any) -> None:
        """Append a layer norm with a gain of 1, ignoring the tensor's name."""
        width = self.config.width
        self.ops.append(Norm(source, target, self.ones(width), self.config.eps, centered=True, factor=factor))
