"""Qwen3 MoE: Qwen3's attention, mixtures of experts instead of feed-forward networks (arXiv 2505.09388)."""

from intact.models.mixtures import MixtureForm
from intact.models.names import HF_EXPERTS, HF_NAMES
from intact.models.qwen3 import Qwen3


class Qwen3Moe(Qwen3):
    """The best experts of a row share its weight."""

    gguf = "qwen3moe"
    hf = ("Qwen3MoeForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS
    hf_defaults = {"num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": False}
    mixture = MixtureForm("softmax of chosen", "num_experts", "moe_intermediate_size")
    sample = {"expert_count": 8, "expert_used_count": 3, "expert_feed_forward_length": 64}
