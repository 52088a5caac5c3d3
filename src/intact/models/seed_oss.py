"""Seed-OSS: Llama architecture with biases on query, key and value (https://github.com/ByteDance-Seed/seed-oss)."""

from intact.models.decoder import Decoder
from intact.models.names import ATTENTION, FEED_FORWARD, HF_NAMES


class SeedOss(Decoder):
    """GGUF files use Transformers' name for the norm before the feed-forward network, "post attention"."""

    gguf = "seed_oss"
    hf = ("SeedOssForCausalLM",)
    hf_names = HF_NAMES | {"post_attention_norm": "post_attention_layernorm"}
    hf_defaults = {"attention_bias": True, "head_dim": 128}
    biases = {
        **dict.fromkeys(ATTENTION, "attention_bias"),
        "attn_output": "attention_out_bias",
        **dict.fromkeys(FEED_FORWARD, "mlp_bias"),
    }
    ffn_norm = "post_attention_norm"
