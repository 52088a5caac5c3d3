"""Ling 2.0 and Ring 2.0: head norms, partial rotary, experts as in DeepSeek V3 (arXiv 2510.22115)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.mixtures import CHOICE_BIAS, CHOSEN_BY_SIGMOIDS, SIGMOID_SAMPLE
from intact.models.names import ATTENTION, HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS

_SHARED = "moe_shared_expert_intermediate_size"


class BailingMoe2(Decoder):
    """Fused queries, keys and values; experts are chosen in groups, by sigmoids with a bias per expert."""

    gguf = "bailingmoe2"
    hf = ("BailingMoeV2ForCausalLM",)
    hf_names = (
        HF_NAMES
        | HF_EXPERTS
        | HF_SHARED_EXPERTS
        | {
            "token_embd": "model.word_embeddings",
            "attn_output": "attention.dense",
            "attn_q_norm": "attention.query_layernorm",
            "attn_k_norm": "attention.key_layernorm",
        }
    )
    hf_bare = {"mlp.gate.expert_bias": f"{CHOICE_BIAS}.bias"}
    has_further_layers = True
    hf_defaults = {
        "rope_theta": 600000.0,
        "num_experts": 256,
        "num_shared_experts": 1,
        "num_experts_per_tok": 8,
        "n_group": 8,
        "topk_group": 4,
        "moe_intermediate_size": 512,
        "first_k_dense_replace": 1,
    }
    hf_refused = {"use_qk_norm": (True,)}
    biases = (
        dict.fromkeys(Decoder.biases, False) | dict.fromkeys(ATTENTION, "use_qkv_bias") | {"attn_output": "use_bias"}
    )
    fused = {"attn_qkv": "attention.query_key_value"}
    gguf_fused = ("attn_qkv",)
    head_norms = True
    partial_rotary = True
    mixture = CHOSEN_BY_SIGMOIDS._replace(
        hf_count="num_experts", hf_shared_count="num_shared_experts", hf_bias="moe_router_enable_expert_bias"
    )
    sample = SIGMOID_SAMPLE | {
        "rope.dimension_count": 12,
        "expert_group_count": 4,
        "expert_group_used_count": 2,
    }

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters; the shared expert must be as wide as the experts that it replaces."""
        m.choice("score_function", ("sigmoid",))
        width = m.integer("moe_intermediate_size") * m.integer("num_shared_experts", least=0)
        if m.get(_SHARED) not in (None, width):
            m.refuse(_SHARED, f"{width}, the width of the experts that it replaces", m.get(_SHARED))
        return super().read_hf(m)
