"""MiniMax M2: norms of whole query and key rows, partial rotary, experts chosen by sigmoids (arXiv 2605.26494)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.mixtral import Mixtral
from intact.models.mixtures import CHOICE_BIAS, MixtureForm


class MiniMaxM2(Decoder):
    """All layers have experts, chosen with per-expert biases; the weights of the chosen ones sum to 1."""

    gguf = "minimax-m2"
    hf = ("MiniMaxM2ForCausalLM",)
    hf_names = Mixtral.hf_names
    hf_bare = {"block_sparse_moe.e_score_correction_bias": f"{CHOICE_BIAS}.bias"}
    hf_defaults = {
        "head_dim": 128,
        "num_key_value_heads": 8,
        "rope_theta": 5e6,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
    }
    hf_refused = {"shared_intermediate_size": (0,), "use_qk_norm": (True,), "use_routing_bias": (True,)}
    biases = dict.fromkeys(Decoder.biases, False)
    head_norms = True
    norms_rows = True
    partial_rotary = True
    mixture = MixtureForm("sigmoid of chosen", "num_local_experts", "intermediate_size", hf_bias="use_routing_bias")
    sample = {
        "rope.dimension_count": 12,
        "expert_gating_func": 2,
        "expert_count": 8,
        "expert_used_count": 6,
        "expert_feed_forward_length": 64,
    }

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration; files specify the rotated part of heads as a number of columns."""
        m.choice("scoring_func", ("sigmoid",))
        if any(kind != 1 for kind in m.get("attn_type_list") or ()):
            m.refuse("attn_type_list", "1 for each layer (linear attention is not supported)", m.get("attn_type_list"))
        if m.get("rotary_dim") is None or m.get("partial_rotary_factor") is not None:
            return super().read_hf(m)
        part = m.integer("rotary_dim") / m.integer("head_dim")
        return super().read_hf(Metadata({**m.values, "partial_rotary_factor": part}, m.source))
