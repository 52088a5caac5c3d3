"""State-space models, pure or hybrid, whose safetensors files name the decoder `backbone`."""

from __future__ import annotations

from intact.models.aspects.tables import Buffer
from intact.models.names import HF_NAMES
from intact.models.state_spaces import StateSpaces, scan_bare_names, scan_names
from intact.models.without_attention import WithoutAttention

BACKBONE_NAMES = HF_NAMES | {"token_embd": "model.embeddings", "output_norm": "model.norm_f", "attn_norm": "norm"}


class BackboneStateSpaces(StateSpaces):
    """State-space models whose folders name the decoder `backbone`, a layer's only norm `norm`, its block `mixer`."""

    hf_beginning = "backbone."
    hf_names = BACKBONE_NAMES | scan_names("mixer")
    hf_bare = scan_bare_names("mixer")
    hf_eps = "layer_norm_epsilon"
    fused = {"ssm_in": "mixer.in_proj"}


class ScansAlone(WithoutAttention, BackboneStateSpaces):
    """Models with only state-space layers, without attention and feed-forward networks."""

    has_nets = False

    def buffers(self) -> dict[str, Buffer]:
        """Return the residual stream and the rows of a layer."""
        width = self.config.width
        return {"x": Buffer(width, wide=True), "normed": Buffer(width), **self.scan_buffers()}

    def layer(self, i: int) -> None:
        """Append a norm and a state-space layer."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.scan(i)
        self.project_scan(i, "x", accumulate=True)
