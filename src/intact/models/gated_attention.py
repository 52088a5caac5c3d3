"""Attention with an output gate: its result is multiplied by the sigmoid of a projection of its input."""

from __future__ import annotations

from intact.models.aspects.tables import Buffer
from intact.models.decoder import Decoder
from intact.models.ops import Linear


class GatedAttention(Decoder):
    """A decoder with gated attention; a subclass's `attention_inputs` writes "gate_attended"."""

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including attention's gate and its gated result."""
        attended = self.config.heads * self.config.head_width
        more = {"gate_attended": Buffer(attended), "attended_gated": Buffer(attended, wide=True)}
        return super().buffers() | more

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append attention's gate and output projection."""
        c = self.config
        self.gate("gate_attended", "attended", "attended_gated", "sigmoid")
        target = self.target(buffer, f"blk.{i}.attn_output", c.width, c.heads * c.head_width, accumulate=accumulate)
        self.ops.append(Linear("attended_gated", (target,)))
