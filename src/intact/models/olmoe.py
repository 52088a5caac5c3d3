"""OLMoE: norms of whole query and key rows, mixtures of experts (arXiv 2409.02060)."""

from intact.models.decoder import Decoder
from intact.models.mixtures import MixtureForm
from intact.models.names import HF_EXPERTS, HF_NAMES


class Olmoe(Decoder):
    """Weights are the chosen experts' shares of a softmax over all experts."""

    gguf = "olmoe"
    hf = ("OlmoeForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS
    hf_defaults = {"num_experts": 64, "num_experts_per_tok": 8, "rms_norm_eps": 1e-5}
    hf_refused = {"clip_qkv": ()}
    head_norms = True
    norms_rows = True
    mixture = MixtureForm("softmax", "num_experts", "intermediate_size")
    sample = {"expert_count": 8, "expert_used_count": 2, "feed_forward_length": 64}
