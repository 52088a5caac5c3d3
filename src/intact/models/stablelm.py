"""StableLM: Llama architecture with layer norms, partial rotary (stability.ai, StableLM 2 technical report)."""

from intact.models.decoder import Decoder
from intact.models.names import ATTENTION


class StableLm(Decoder):
    """Queries, keys and values may have biases."""

    gguf = "stablelm"
    hf = ("StableLmForCausalLM",)
    hf_defaults = {"partial_rotary_factor": 0.25, "layer_norm_eps": 1e-5}
    hf_refused = {"qk_layernorm": (False,), "use_parallel_residual": (False,)}
    hf_eps = "layer_norm_eps"
    biases = Decoder.biases | dict.fromkeys(ATTENTION, "use_qkv_bias") | {"attn_output": False}
    layer_norms = True
    norm_biases = True
    partial_rotary = True
    sample = {"attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 6}
