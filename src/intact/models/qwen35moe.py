"""Qwen3.5 MoE: Qwen3.5 with mixtures of experts and a shared expert (arXiv 2412.06464, 2505.06708)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.delta_nets import DeltaMixtures


class Qwen35Moe(DeltaMixtures):
    """The best experts of a row share its weight; safetensors store all experts' gate and up matrices as one tensor."""

    gguf = "qwen35moe"
    hf = ("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration")
    hf_defaults: ClassVar[dict[str, Any]] = DeltaMixtures.hf_defaults | {
        "num_experts": 256,
        "num_experts_per_tok": 8,
    }
    hf_refused: ClassVar[dict[str, tuple[object, ...]]] = DeltaMixtures.hf_refused | {
        "norm_topk_prob": (True,),
        "decoder_sparse_step": (1,),
    }
    hf_stacked: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "mlp.experts.gate_up_proj": ("ffn_gate_exps", "ffn_up_exps"),
        "mlp.experts.down_proj": ("ffn_down_exps",),
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read a GGUF file; the width of ordinary networks may be missing, since there are none."""
        key = m.prefix + "feed_forward_length"
        width = m.get("feed_forward_length", m.get("expert_feed_forward_length"))
        return super().read_gguf(Metadata({**m.values, key: width}, m.source, prefix=m.prefix))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read a config.json, which has no such width."""
        width = m.get("intermediate_size", m.get("moe_intermediate_size"))
        return super().read_hf(Metadata({**m.values, "intermediate_size": width}, m.source))
