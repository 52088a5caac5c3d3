"""LFM2 MoE: LFM2 with mixtures of experts, chosen by sigmoids with per-expert biases (arXiv 2511.23404)."""

from intact.checkpoints.formats.metadata import Metadata
from intact.models.lfm2 import Lfm2
from intact.models.mixtures import CHOICE_BIAS, MixtureForm


class Lfm2Moe(Lfm2):
    """The first layers have ordinary feed-forward networks; the weights of the chosen experts sum to 1."""

    gguf = "lfm2moe"
    hf = ("Lfm2MoeForCausalLM",)
    hf_names = Lfm2.hf_names | {
        "ffn_gate_inp": "feed_forward.gate",
        "ffn_gate_exps": "feed_forward.experts.*.w1",
        "ffn_up_exps": "feed_forward.experts.*.w3",
        "ffn_down_exps": "feed_forward.experts.*.w2",
    }
    hf_bare = {"feed_forward.expert_bias": f"{CHOICE_BIAS}.bias"}
    hf_defaults = Lfm2.hf_defaults | {"num_experts": 32, "num_experts_per_tok": 4, "num_dense_layers": 2}
    mixture = MixtureForm(
        "sigmoid of chosen",
        "num_experts",
        "moe_intermediate_size",
        hf_dense="num_dense_layers",
        hf_factor="routed_scaling_factor",
        hf_bias="use_expert_bias",
    )
    sample = Lfm2.sample | {
        "expert_count": 6,
        "expert_used_count": 5,
        "expert_feed_forward_length": 64,
        "expert_gating_func": 2,
        "leading_dense_block_count": 1,
    }

    @classmethod
    def read_hidden(cls, m: Metadata) -> int:
        """Return the width of the first layers' networks, as given in the file."""
        return m.integer("intermediate_size")
