"""Nemotron 3 Nano: Nemotron-H with ungated experts, chosen by sigmoids with biases (arXiv 2512.20848)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.mixtures import CHOICE_BIAS, MixtureForm
from intact.models.nemotron_h import NemotronH, layer_kinds

_LATENT = "moe_latent_size"


class NemotronHMoe(NemotronH):
    """Networks are mixtures of experts with a shared expert; folders may also have ordinary networks."""

    gguf = "nemotron_h_moe"
    hf = ("NemotronHForCausalLM",)
    hf_names = NemotronH.hf_names | {
        "ffn_gate_inp": "mixer.gate",
        "ffn_up_exps": "mixer.experts.*.up_proj",
        "ffn_down_exps": "mixer.experts.*.down_proj",
        "ffn_up_shexp": "mixer.shared_experts.up_proj",
        "ffn_down_shexp": "mixer.shared_experts.down_proj",
    }
    hf_bare = NemotronH.hf_bare | {"mixer.gate.e_score_correction_bias": f"{CHOICE_BIAS}.bias"}
    hf_defaults: ClassVar[dict[str, Any]] = NemotronH.hf_defaults | {
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 7688,
        "moe_shared_expert_intermediate_size": 7688,
        "n_group": 1,
        "topk_group": 1,
        "routed_scaling_factor": 1.0,
    }
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {**NemotronH.hf_refused, _LATENT: ()}
    nets = ("moe", "mlp")
    mixture = MixtureForm(
        "sigmoid of chosen",
        "n_routed_experts",
        "moe_intermediate_size",
        hf_shared="moe_shared_expert_intermediate_size",
        hf_factor="routed_scaling_factor",
        hf_bias="use_expert_bias",
        hf_groups=("n_group", "topk_group"),
    )
    sample: ClassVar[dict[str, Any]] = NemotronH.sample | {
        "feed_forward_length": [0, 64, 0, 0, 64],
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_feed_forward_length": 64,
        "expert_shared_count": 1,
        "expert_shared_feed_forward_length": 64,
        "expert_group_count": 1,
        "expert_weights_norm": True,
        "expert_weights_scale": 0.75,
    }

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true for a config.json with layers of experts."""
        kinds = layer_kinds(metadata)
        return isinstance(kinds, list) and "moe" in kinds

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters; refuse experts whose rows have a different width (Nemotron 3 Super)."""
        m.refuse_features({_LATENT: (0,)})
        return super().read_gguf(m)
