"""Granite 3: Llama architecture with factors for embedding, scores, residual sums and logits (arXiv 2405.04324)."""

from typing import Any, ClassVar

from intact.models.llama import Llama


class Granite(Llama):
    """The logits are divided by their factor; none of the factors needs an additional operation (`Decoder.embed`)."""

    gguf = "granite"
    hf: ClassVar[tuple[str, ...]] = ("GraniteForCausalLM",)
    hf_defaults = {"attention_multiplier": 1.0}
    multipliers = {
        "embedding_scale": ("embedding_scale", "embedding_multiplier"),
        "score_scale": ("attention.scale", "attention_multiplier"),
        "residual_scale": ("residual_scale", "residual_multiplier"),
        "logit_scale": ("logit_scale", "logits_scaling"),
    }
    sample: ClassVar[dict[str, Any]] = {
        "embedding_scale": 3.0,
        "attention.scale": 0.15625,
        "residual_scale": 0.25,
        "logit_scale": 4.0,
    }
