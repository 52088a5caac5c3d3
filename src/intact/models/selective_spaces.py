"""Layers with a selective scan (Mamba-1): their sizes and tensor names in files, and their operations."""

from __future__ import annotations

from typing import ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.op import Recurrent
from intact.models.aspects.tables import Buffer
from intact.models.config import Config
from intact.models.names import SELECTIVE_INPUTS, SELECTIVE_PARTS
from intact.models.ops import ConvolveSilu, Linear, Norm, SelectiveScan
from intact.models.state_spaces import StateSpaces, bare_names
from intact.numerics.scan import MOST_STATES
from intact.numerics.selective import SelectiveShape

_PARTS = ("steps_in", "b", "c")
"""Rows computed from the convolved x, in the order of the matrices in `SELECTIVE_PARTS`."""


def selective_names(mixer: str) -> dict[str, str]:
    """Map canonical names of a selective layer's tensors to safetensors names; `mixer` is the layer's name there."""
    return {
        "ssm_in_mixed": f"{mixer}.in_mixed",
        "ssm_in_gate": f"{mixer}.in_gate",
        "ssm_conv1d": f"{mixer}.conv1d",
        "ssm_x_steps": f"{mixer}.x_steps",
        "ssm_x_b": f"{mixer}.x_b",
        "ssm_x_c": f"{mixer}.x_c",
        "ssm_dt": f"{mixer}.dt_proj",
        "ssm_out": f"{mixer}.out_proj",
    }


class SelectiveSpaces(StateSpaces):
    """A decoder with selective scans instead of attention, in all or some layers."""

    selective_gains: ClassVar[tuple[str, ...]] = ()
    """Canonical names of the gains of the norms of dt, B and C; empty: these norms, if any, have no gains."""
    hf_bare = bare_names("mamba")
    of_heads = (".ssm_d",)
    gguf_fused = ("selective_in", "ssm_x")
    gguf_stems: ClassVar[dict[str, str]] = {"selective_in": "ssm_in"}
    biases: ClassVar[dict[str, bool | str]] = {
        **dict.fromkeys((*SELECTIVE_INPUTS, *SELECTIVE_PARTS, "ssm_out"), False),
        "ssm_dt": True,
    }

    @classmethod
    def selective_shape(cls, m: Metadata, inner: int, states: str, rank: int) -> SelectiveShape:
        """Return the sizes; `states` is the key of a state's number of columns, `rank` the number of columns of dt."""
        return SelectiveShape(inner, m.integer(states, most=MOST_STATES), rank)

    @classmethod
    def gguf_shape(cls, m: Metadata) -> SelectiveShape:
        """Return the sizes in a GGUF file."""
        inner, rank = m.integer("ssm.inner_size", most=32768), m.integer("ssm.time_step_rank", most=4096)
        return cls.selective_shape(m, inner, "ssm.state_size", rank)

    @classmethod
    def hf_shape(cls, m: Metadata, inner: int, states: str, rank: str) -> SelectiveShape:
        """Return the sizes in a config.json; a `rank` of "auto" means a sixteenth of the model's width."""
        width, found = m.integer("hidden_size"), m.get(rank, "auto")
        return cls.selective_shape(m, inner, states, -(-width // 16) if found == "auto" else m.integer(rank, most=4096))

    @classmethod
    def row_counts(cls, config: Config) -> dict[str, int]:
        """Return the row counts of matrices that files store fused."""
        s = config.selective
        if s is None:
            return super().row_counts(config)
        parts = (s.rank, s.states, s.states)
        rows = dict.fromkeys(SELECTIVE_INPUTS, s.channels) | dict(zip(SELECTIVE_PARTS, parts, strict=True))
        return super().row_counts(config) | rows

    def scan(self, i: int) -> None:
        """Append a selective layer on "normed" up to its gate: projections, convolution, scan."""
        c, p, s = self.config, f"blk.{i}.", self.config.selective
        assert s is not None
        targets = zip(SELECTIVE_INPUTS, ("mixed", "z"), strict=True)
        inputs = tuple(self.target(to, p + stem, s.channels, c.width) for stem, to in targets)
        self.ops.append(Linear("normed", inputs))
        weight = self.matrix(p + "ssm_conv1d.weight", s.channels, c.taps)
        bias = p + "ssm_conv1d.bias" if c.biases.get("ssm_conv1d", True) else None
        if bias:
            self.vector(bias, s.channels)
        layer = sum(isinstance(op, ConvolveSilu) for op in self.ops)
        self.ops.append(ConvolveSilu("mixed", "convolved", weight, bias, layer=layer, width=s.channels, taps=c.taps))
        widths = (s.rank, s.states, s.states)
        parts = tuple(
            self.target(to, p + stem, rows, s.channels)
            for stem, to, rows in zip(SELECTIVE_PARTS, _PARTS, widths, strict=True)
        )
        self.ops.append(Linear("convolved", parts))
        for n, (buffer, width) in enumerate(zip(_PARTS, widths, strict=True)):
            if self.selective_gains:
                self.norm(buffer, buffer, p + self.selective_gains[n], heads=1, width=width)
            elif c.selective_eps:
                self.ops.append(Norm(buffer, buffer, self.ones(width), c.selective_eps, heads=1))
        self.ops.append(Linear("steps_in", (self.target("steps", p + "ssm_dt", s.channels, s.rank),)))
        decay = self.matrix(p + "ssm_a", s.channels, s.states)
        skip = p + "ssm_d"
        self.vector(skip, s.channels)
        layer = sum(isinstance(op, Recurrent) for op in self.ops)
        names = ("convolved", "steps", "b", "c", "scanned", decay, skip)
        self.ops.append(SelectiveScan(*names, layer, s.channels, s.states))
        self.gate("z", "scanned", "gated", "silu")

    def project_scan(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the output projection of a selective layer."""
        c, s = self.config, self.config.selective
        assert s is not None
        target = self.target(buffer, f"blk.{i}.ssm_out", c.width, s.channels, accumulate=accumulate)
        self.ops.append(Linear("gated", (target,)))

    def scan_buffers(self) -> dict[str, Buffer]:
        """Return the row vectors of selective layers."""
        s = self.config.selective
        assert s is not None
        inner = ("mixed", "z", "convolved", "steps", "scanned")
        widths = dict.fromkeys(inner, s.channels) | dict(zip(_PARTS, (s.rank, s.states, s.states), strict=True))
        return {name: Buffer(width) for name, width in widths.items()} | {"gated": Buffer(s.channels, wide=True)}
