"""GLM-4-9B: Llama's graph, heads rotated in half by neighbours, gate and up as one (arXiv 2406.12793)."""

from intact.models.decoder import Decoder
from intact.models.names import ATTENTION


class Glm(Decoder):
    """GGUF files may hold query, key and value as one matrix with a bias too, as those of ChatGLM do."""

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
