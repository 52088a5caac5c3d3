"""GLM-4-0414 and GLM-Z1: four norms per layer, half of each head rotated, fused gate and up (arXiv 2406.12793)."""

from intact.models.chatglm import Glm
from intact.models.names import HF_NAMES


class Glm4(Glm):
    """Results are normed before the residual sum."""

    gguf = "glm4"
    hf = ("Glm4ForCausalLM",)
    hf_names = HF_NAMES | {
        "post_attention_norm": "post_self_attn_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "post_ffw_norm": "post_mlp_layernorm",
    }
    norms = "both"
