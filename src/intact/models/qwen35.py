"""Qwen3.5: gated delta nets; every fourth layer is gated attention (arXiv 2412.06464, 2505.06708)."""

from intact.models.delta_nets import DeltaNets


class Qwen35(DeltaNets):
    """Delta nets have one matrix for queries, keys and values, and one each for z, dt and b. Only text is supported."""

    gguf = "qwen35"
    hf = ("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration")
