"""Granite 4: Granite's factors, state-space and a few attention layers, with or without experts (ibm.com/granite)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.attention_layers import read_gguf_layers, read_hf_layers
from intact.models.config import Config
from intact.models.granite import Granite
from intact.models.granitemoe import GraniteMoe
from intact.models.mixtures import ROUTER, MixtureForm
from intact.models.state_spaces import HYBRID_DEFAULTS, StateSpaces, scan_names

_ALONE = {
    "ffn_gate": "shared_mlp.gate",
    "ffn_up": "shared_mlp.up",
    "ffn_down": "shared_mlp.output_linear",
}
"""In models without experts, the shared network is the only one; GGUF files name it like an ordinary one."""


class GraniteHybrid(StateSpaces):
    """Layers without attention have Mamba-2 state spaces; in most models no layer has positions."""

    gguf = "granitehybrid"
    hf: ClassVar[tuple[str, ...]] = ("GraniteMoeHybridForCausalLM",)
    hf_names: ClassVar[dict[str, str]] = GraniteMoe.hf_names | _ALONE | scan_names("mamba")
    hf_defaults: ClassVar[dict[str, Any]] = HYBRID_DEFAULTS | {
        "attention_multiplier": 1.0,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 1024,
        "max_position_embeddings": 2048,
    }
    hf_aliases: ClassVar[dict[str, str]] = {"layers_block_type": "layer_types"}
    hf_refused: ClassVar[dict[str, tuple[object, ...]]] = {"mamba_proj_bias": (False,)}
    hf_stacked = GraniteMoe.hf_stacked
    fused = {**StateSpaces.fused, **dict.fromkeys(("ffn_up", "ffn_up_shexp"), "shared_mlp.input_linear")}
    mixture: ClassVar[MixtureForm | None] = GraniteMoe.mixture
    multipliers = Granite.multipliers
    gguf_interleaves = True
    sample: ClassVar[dict[str, Any]] = Granite.sample | {
        "block_count": 3,
        "attention.head_count_kv": [0, 1, 0],
        "rope.scaling.finetuned": False,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
        "ssm.group_count": 1,
        "expert_count": 6,
        "expert_used_count": 2,
        "feed_forward_length": 64,
        "expert_shared_feed_forward_length": 40,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers are state spaces and whether attention layers have positions.

        The key for the latter is `rope.scaling.finetuned`.
        """
        scans, common = read_gguf_layers(m, "a state space")
        config = super().read_gguf(common)
        rotates = m.flag("rope.scaling.finetuned", True)
        if rotates and config.rope_width != config.head_width:
            m.refuse("rope.dimension_count", f"{config.head_width}, the head width", config.rope_width)
        return cls.with_layers(cls.with_gguf_scan(config, m) if scans else config, scans, rotates)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same, and the width of networks without experts, from a config.json."""
        kinds = m.get("layer_types")
        if kinds is None:
            kinds = ["mamba"] * m.integer("num_hidden_layers", most=1024)
        scans, common = read_hf_layers(m, kinds, ("attention", "full_attention"), ("mamba", "linear_attention"))
        rotates = m.choice("position_embedding_type", ("rope", "nope")) == "rope"
        own = {} if m.get("num_local_experts") else {"intermediate_size": m.integer("shared_intermediate_size")}
        config = super().read_hf(Metadata({**common.values, **own}, m.source))
        return cls.with_layers(cls.with_hf_scan(config, m) if scans else config, scans, rotates)

    @classmethod
    def with_layers(cls, config: Config, scans: tuple[int, ...], rotates: bool) -> Config:
        """Return a configuration with its layers set; if `rotates`, attention layers have positions."""
        unrotated = () if rotates else tuple(range(config.layers))
        return replace(config, scan_layers=scans, unrotated_layers=unrotated)

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors; in models without experts the shared network gets the names of an ordinary one."""
        found = super().canonical_tensors(checkpoint)
        if checkpoint.format == "gguf" or any(f".{ROUTER}." in name for name in found):
            return found
        return {name.replace("_shexp.", "."): tensor for name, tensor in found.items()}
