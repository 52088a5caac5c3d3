"""Phi-3 and Phi-4: Llama architecture, fused projections, partial rotary, longrope (arXiv 2404.14219, 2503.01743)."""

from intact.models.decoder import Decoder


class Phi3(Decoder):
    """Files fuse query, key and value, and gate and up; all layers use the window, if any.

    The context that the file declares determines which of longrope's lists of factors is used.
    """

    gguf = "phi3"
    hf = ("Phi3ForCausalLM",)
    hf_defaults = {"original_max_position_embeddings": 4096}
    biases = dict.fromkeys(Decoder.biases, False)
    fused = {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
    gguf_fused = ("attn_qkv", "ffn_up")
    partial_rotary = True
    has_local_layers = True
    sample = {"rope.dimension_count": 18, "attention.sliding_window": 30}
