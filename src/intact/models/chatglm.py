"""GLM-4-9B: Llama architecture, half of each head rotated in adjacent pairs, fused gate and up (arXiv 2406.12793)."""

from intact.models.decoder import Decoder
from intact.models.names import ATTENTION


class Glm(Decoder):
    """GGUF files may also fuse query, key and value into one matrix with a bias, as ChatGLM's do."""

    gguf = "chatglm"
    hf = ("GlmForCausalLM",)
    hf_defaults = {"partial_rotary_factor": 0.5, "attention_bias": True, "head_dim": 128, "rms_norm_eps": 1.5625e-7}
    biases = {matrix: "attention_bias" if matrix in ATTENTION else False for matrix in Decoder.biases}
    fused = {"ffn_up": "mlp.gate_up_proj"}
    gguf_fused = ("attn_qkv", "ffn_up")
    partial_rotary = True
    gguf_interleaves = True
    hf_interleaves = True
    sample = {"rope.dimension_count": 12}
