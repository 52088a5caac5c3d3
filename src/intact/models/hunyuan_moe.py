"""Hunyuan-A13B: Hunyuan's attention, mixtures of experts with a shared expert (github.com/Tencent-Hunyuan)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.hunyuan_dense import HunyuanDense
from intact.models.mixtures import MixtureForm
from intact.models.names import HF_EXPERTS


class HunyuanMoe(HunyuanDense):
    """The best experts of a row share its weight."""

    gguf = "hunyuan-moe"
    hf = ("HunYuanMoEV1ForCausalLM",)
    hf_names = (
        HunyuanDense.hf_names
        | HF_EXPERTS
        | {
            "ffn_gate_inp": "mlp.gate.wg",
            "ffn_gate_shexp": "mlp.shared_mlp.gate_proj",
            "ffn_up_shexp": "mlp.shared_mlp.up_proj",
            "ffn_down_shexp": "mlp.shared_mlp.down_proj",
        }
    )
    hf_aliases = {"num_experts_per_tok": "moe_topk"}
    hf_refused = HunyuanDense.hf_refused | {"use_mixed_mlp_moe": (True,), "use_mla": (False,)}
    mixture = MixtureForm("softmax of chosen", "num_experts", "moe_intermediate_size", "shared_intermediate_size")
    sample = {
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_feed_forward_length": 64,
        "expert_shared_feed_forward_length": 40,
    }

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the sizes of experts, which files may list per layer; they must be equal for all layers."""
        width = m.integer("intermediate_size")
        given = {
            "num_experts_per_tok": cls.of_all(m, "moe_topk", 1),
            "moe_intermediate_size": cls.of_all(m, "moe_intermediate_size", width),
            "shared_intermediate_size": width * cls.of_all(m, "num_shared_expert", 1),
        }
        return super().read_hf(Metadata({**m.values, **given}, m.source))

    @classmethod
    def of_all(cls, m: Metadata, key: str, default: int) -> int:
        """Return a number that is given once, or for each layer with the same value."""
        listed = m.get(key)
        if not isinstance(listed, list):
            return m.integer(key, default)
        if not listed or not all(isinstance(one, int) and one == listed[0] > 0 for one in listed):
            m.refuse(key, "an integer, or the same integer for each layer", listed)
        return int(listed[0])
