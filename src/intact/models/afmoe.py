"""Arcee Trinity: positions only in local layers, gated attention, experts chosen by sigmoids (arXiv 2602.17004)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import root
from intact.models.gated_attention import GatedAttention
from intact.models.mixtures import CHOICE_BIAS, CHOSEN_BY_SIGMOIDS, SIGMOID_SAMPLE
from intact.models.names import ATTENTION, HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS, NORMS_AFTER
from intact.models.ops import Linear


class Afmoe(GatedAttention):
    """Four norms per layer, and head norms; attention's output is gated by the sigmoid of a projection of its input."""

    gguf = "afmoe"
    hf = ("AfmoeForCausalLM",)
    hf_names = (
        HF_NAMES
        | HF_EXPERTS
        | HF_SHARED_EXPERTS
        | NORMS_AFTER
        | {
            "attn_gate": "self_attn.gate_proj",
            "ffn_norm": "pre_mlp_layernorm",
            "post_ffw_norm": "post_mlp_layernorm",
            "ffn_gate_inp": "mlp.router.gate",
        }
    )
    hf_bare = {"mlp.expert_bias": f"{CHOICE_BIAS}.bias"}
    hf_defaults = {"sliding_window": 1024, "num_dense_layers": 1, "num_shared_experts": 2, "route_scale": 1.0}
    hf_refused = {"n_group": (0, 1), "num_expert_groups": (0, 1), "attention_bias": (False,)}
    biases = GatedAttention.biases | {"attn_gate": False}
    norms = "both"
    head_norms = True
    has_local_layers = True
    local_but_each = 4
    rotates_local_alone = True
    mixture = CHOSEN_BY_SIGMOIDS._replace(
        hf_count="num_experts",
        hf_shared_count="num_shared_experts",
        hf_dense="num_dense_layers",
        hf_factor="route_scale",
        hf_groups=None,
    )
    sample: ClassVar[dict[str, Any]] = SIGMOID_SAMPLE | {"block_count": 4, "attention.sliding_window": 24}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read a GGUF file, whose embedding is always scaled."""
        return cls.scaled(super().read_gguf(m))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including whether the embedding is scaled and which layers are local."""
        m.choice("score_func", ("sigmoid",))
        given = {
            "norm_topk_prob": m.flag("route_norm", True),
            "sliding_window_pattern": m.integer("global_attn_every_n_layers", cls.local_but_each),
        }
        config = super().read_hf(Metadata({**m.values, **given}, m.source))
        return cls.scaled(config) if m.flag("mup_enabled", False) else config

    @classmethod
    def scaled(cls, config: Config) -> Config:
        """Return the configuration with the embedding scaled by the square root of its width."""
        return replace(config, embedding_scale=root(config.width))

    def attention_inputs(self, i: int) -> None:
        """Append the projections to queries, keys, values and the gate."""
        c, p = self.config, f"blk.{i}."
        names = zip(("q", "k", "v", "gate_attended"), (*ATTENTION, "attn_gate"), strict=True)
        heads = (c.heads, c.kv_heads, c.kv_heads, c.heads)
        targets = [
            self.target(to, p + stem, n * c.head_width, c.width) for (to, stem), n in zip(names, heads, strict=True)
        ]
        self.ops.append(Linear("normed", tuple(targets)))
