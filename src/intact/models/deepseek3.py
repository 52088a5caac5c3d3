"""DeepSeek V3 and R1: DeepSeek V2 with experts chosen by sigmoids with per-expert biases (arXiv 2412.19437)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from intact.models.deepseek2 import DeepseekV2
from intact.models.mixtures import CHOSEN_BY_SIGMOIDS, HF_CHOICE_BIAS


class DeepseekV3(DeepseekV2):
    """GGUF files are DeepSeek V2's with sigmoids."""

    name = "deepseek3"
    hf = ("DeepseekV3ForCausalLM",)
    hf_bare = HF_CHOICE_BIAS
    has_further_layers = True
    hf_heads = "layers"
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "n_group": 8,
        "topk_group": 4,
        "first_k_dense_replace": 3,
        "routed_scaling_factor": 2.5,
    }
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "moe_layer_freq": (1,),
        "rope_interleave": (True,),
    }
    scoring = "sigmoid"
    choices = ("noaux_tc",)
    mixture = CHOSEN_BY_SIGMOIDS
    sample: ClassVar[dict[str, Any]] = DeepseekV2.sample | {
        "attention.q_lora_rank": 32,
        "expert_gating_func": 2,
        "expert_weights_norm": True,
        "expert_weights_scale": 2.5,
        "expert_count": 12,
        "expert_used_count": 4,
        "expert_group_count": 4,
        "expert_group_used_count": 2,
        "expert_shared_count": 1,
    }

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true for a file whose experts are chosen by sigmoids."""
        return metadata.get("deepseek2.expert_gating_func") == 2
