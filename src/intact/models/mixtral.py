"""Mixtral: Llama architecture with mixtures of experts instead of feed-forward networks (arXiv 2401.04088)."""

from collections.abc import Mapping
from typing import Any

from intact.models.mistral import MistralDecoder
from intact.models.mixtures import MixtureForm
from intact.models.names import HF_NAMES


class Mixtral(MistralDecoder):
    """The best experts of a row share its weight; GGUF files are Llama's with a number of experts."""

    name = "mixtral"
    hf = ("MixtralForCausalLM",)
    hf_names = HF_NAMES | {
        "ffn_gate_inp": "block_sparse_moe.gate",
        "ffn_gate_exps": "block_sparse_moe.experts.*.w1",
        "ffn_up_exps": "block_sparse_moe.experts.*.w3",
        "ffn_down_exps": "block_sparse_moe.experts.*.w2",
    }
    hf_defaults = {"num_key_value_heads": 8, "sliding_window": None, "num_local_experts": 8, "num_experts_per_tok": 2}
    mixture = MixtureForm("softmax of chosen", "num_local_experts", "intermediate_size")

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true for a file with experts."""
        return bool(metadata.get("llama.expert_count"))
