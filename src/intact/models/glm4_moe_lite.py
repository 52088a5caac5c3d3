"""GLM-4.7-Flash: DeepSeek V3 architecture without expert groups (arXiv 2508.06471)."""

from __future__ import annotations

from intact.models.deepseek3 import DeepseekV3


class Glm4MoeLite(DeepseekV3):
    """GGUF files are DeepSeek V3's."""

    name = "glm4-moe-lite"
    hf = ("Glm4MoeLiteForCausalLM",)
    hf_defaults = {
        "kv_lora_rank": 512,
        "q_lora_rank": 768,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "n_routed_experts": 64,
        "num_experts_per_tok": 4,
        "n_shared_experts": 1,
        "moe_intermediate_size": 1536,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "routed_scaling_factor": 1.8,
        "rms_norm_eps": 1e-5,
    }

    @classmethod
    def claims(cls, metadata: object) -> bool:
        """Return false: GGUF files do not distinguish it from DeepSeek V3."""
        return False
