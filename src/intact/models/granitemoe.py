"""Granite 3 MoE: Granite's factors, mixtures of experts, in some models a shared expert (ibm.com/granite)."""

from intact.models.granite import Granite
from intact.models.mixtures import MixtureForm
from intact.models.names import HF_NAMES


class GraniteMoe(Granite):
    """The best experts of a row share its weight; safetensors store all experts' gate and up matrices as one tensor."""

    gguf = "granitemoe"
    hf = ("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM")
    hf_names = HF_NAMES | {
        "ffn_gate_inp": "block_sparse_moe.router.layer",
        "ffn_gate_exps": "block_sparse_moe.experts.*.gate",
        "ffn_up_exps": "block_sparse_moe.experts.*.up",
        "ffn_down_exps": "block_sparse_moe.experts.*.down",
        "ffn_gate_shexp": "shared_mlp.gate",
        "ffn_up_shexp": "shared_mlp.up",
        "ffn_down_shexp": "shared_mlp.output_linear",
    }
    hf_stacked = {
        "block_sparse_moe.input_linear": ("ffn_gate_exps", "ffn_up_exps"),
        "block_sparse_moe.output_linear": ("ffn_down_exps",),
    }
    fused = {"ffn_up_shexp": "shared_mlp.input_linear"}
    mixture = MixtureForm("softmax of chosen", "num_local_experts", "intermediate_size", "shared_intermediate_size")
    sample = Granite.sample | {
        "expert_count": 6,
        "expert_used_count": 2,
        "feed_forward_length": 64,
        "expert_shared_feed_forward_length": 40,
    }
