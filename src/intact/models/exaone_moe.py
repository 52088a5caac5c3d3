"""K-EXAONE: EXAONE 4's attention with pre-norms, experts chosen by sigmoids with biases (arXiv 2601.01739)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.exaone4 import Exaone4
from intact.models.mixtures import CHOICE_BIAS, CHOSEN_BY_SIGMOIDS, HF_CHOICE_BIAS, SIGMOID_SAMPLE
from intact.models.names import HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS


class ExaoneMoe(Exaone4):
    """The first layers have ordinary feed-forward networks."""

    gguf = "exaone-moe"
    hf = ("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM")
    hf_names = HF_NAMES | HF_EXPERTS | HF_SHARED_EXPERTS
    hf_bare = {"mlp.e_score_correction_bias": f"{CHOICE_BIAS}.bias"} | HF_CHOICE_BIAS
    has_further_layers = True
    hf_defaults = Exaone4.hf_defaults | {
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "num_shared_experts": 1,
        "moe_intermediate_size": 1024,
        "routed_scaling_factor": 2.5,
    }
    norms = "before"
    mixture = CHOSEN_BY_SIGMOIDS._replace(hf_count="num_experts", hf_shared_count="num_shared_experts")
    sample = Exaone4.sample | SIGMOID_SAMPLE

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the number of first layers without experts, which is stored under one of two keys."""
        dense = m.integer("first_last_k_dense_replace", 1, least=0, most=1024)
        return super().read_hf(Metadata({"first_k_dense_replace": dense, **m.values}, m.source))
