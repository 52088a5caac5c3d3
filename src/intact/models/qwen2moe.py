"""Qwen 1.5 and 2 MoE: Qwen2's attention, mixtures of experts with a shared expert (arXiv 2407.10671)."""

from intact.models.mixtures import MixtureForm
from intact.models.names import HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERT
from intact.models.qwen2 import Qwen2


class Qwen2Moe(Qwen2):
    """Weights are shares of a softmax over all experts; the shared expert's weight is a sigmoid."""

    gguf = "qwen2moe"
    hf = ("Qwen2MoeForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS | HF_SHARED_EXPERT
    hf_defaults = {"num_experts": 60, "num_experts_per_tok": 4, "shared_expert_intermediate_size": 5632}
    mixture = MixtureForm(
        "softmax", "num_experts", "moe_intermediate_size", "shared_expert_intermediate_size", shared_gate=True
    )
    sample = {
        "expert_count": 6,
        "expert_used_count": 3,
        "expert_feed_forward_length": 40,
        "expert_shared_feed_forward_length": 72,
    }
