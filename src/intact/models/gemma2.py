"""Gemma 2: alternating local and global layers, four norms per layer, soft caps (arXiv 2408.00118)."""

from intact.models.gemma import GemmaDecoder


class Gemma2(GemmaDecoder):
    """Every other layer uses a window; scores and logits have soft caps."""

    gguf = "gemma2"
    hf = ("Gemma2ForCausalLM",)
    soft_caps = (50.0, 30.0)
    local_but_each = 2
    gguf_window = 4096
    layers_of_27b = 46
    hf_defaults = {  # Gemma2Config's
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    sample = {"attention.sliding_window": 24, "attn_logit_softcapping": 5.0}
