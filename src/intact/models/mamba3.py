"""Mamba-3: trapezoidal scans with rotated keys and queries, with or without networks (state-spaces/mamba)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.op import Recurrent
from intact.models.aspects.tables import Buffer
from intact.models.backbone import BACKBONE_NAMES, ScansAlone
from intact.models.config import Config
from intact.models.decoder import net_buffers
from intact.models.names import FEED_FORWARD, TRAPEZOIDAL_INPUTS
from intact.models.ops import Linear, Norm, TrapezoidalScan
from intact.numerics.scan import MOST_STATES
from intact.numerics.trapezoidal import TrapezoidalShape

_NET_UNIT = 128
"""The authors' code rounds the width of feed-forward networks up to a multiple of this number."""
_EPSILON = 1e-5
"""Epsilon of all norms, including those of B and C; files do not specify it."""
_KEYS = ("layer", "d_state", "expand", "headdim", "ngroups", "rope_fraction", "A_floor", "is_outproj_norm", "is_mimo")
_TRAINING_KEYS = ("mimo_rank", "chunk_size", "dropout", "dt_min", "dt_max", "dt_init_floor")
"""Keys of `ssm_cfg`: those that are read, and those that do not affect models with one input and output per head."""


class Mamba3(ScansAlone):
    """Models of the authors' `MambaLMHeadModel` with one input and output per head (SISO).

    Their config.json names no architecture; `ssm_cfg` identifies Mamba-3 layers.
    """

    gguf = "mamba3"
    hf = ("MambaLMHeadModel",)
    hf_unnamed = True
    hf_names = BACKBONE_NAMES | {
        "token_embd": "model.embedding",
        "ssm_in_gate": "mixer.in_gate",
        "ssm_in_mixed": "mixer.in_mixed",
        "ssm_in_b": "mixer.in_b",
        "ssm_in_c": "mixer.in_c",
        "ssm_in_controls": "mixer.in_controls",
        "ssm_b_norm": "mixer.B_norm",
        "ssm_c_norm": "mixer.C_norm",
        "ssm_out": "mixer.out_proj",
        "ffn_norm": "norm2",
        "ffn_down": "mlp.fc2",
    }
    hf_bare: ClassVar[dict[str, str]] = {
        "mixer.D": "ssm_d",
        "mixer.dt_bias": "ssm_dt.bias",
        "mixer.B_bias": "ssm_b.bias",
        "mixer.C_bias": "ssm_c.bias",
    }
    hf_defaults: ClassVar[dict[str, Any]] = {"d_model": 2560, "n_layer": 64, "vocab_size": 50277}
    hf_refused = {"rms_norm": (True,), "bidirectional": (False,)}
    of_heads = (".ssm_d", ".ssm_dt.bias", ".ssm_b.bias", ".ssm_c.bias")
    fused = {"trapezoidal_in": "mixer.in_proj", "ffn_up_gate": "mlp.fc1"}
    gguf_fused = ("trapezoidal_in",)
    gguf_stems: ClassVar[dict[str, str]] = {"trapezoidal_in": "ssm_in"}
    biases = dict.fromkeys((*TRAPEZOIDAL_INPUTS, "ssm_out", *FEED_FORWARD), False)
    sample: ClassVar[dict[str, Any]] = {
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 6,
        "ssm.group_count": 2,
        "ssm.angle_count": 4,
        "ssm.slowest_decay": 1e-4,
    }

    @classmethod
    def claims(cls, metadata: Mapping[str, Any]) -> bool:
        """Return true for a config.json written by the authors' code for a model with Mamba-3 layers."""
        layers = metadata.get("ssm_cfg")
        return isinstance(layers, Mapping) and layers.get("layer") == "Mamba3"

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the sizes of the layers and the hyper-parameters common to decoders."""
        heads, inner = m.integer("ssm.time_step_rank", most=4096), m.integer("ssm.inner_size", most=32768)
        if inner % heads:
            m.refuse("ssm.inner_size", f"a multiple of the {heads} heads (ssm.time_step_rank)", inner)
        _, width, groups, states = cls.shape(m, heads, inner // heads, ("ssm.group_count", "ssm.state_size"))
        angles = m.integer("ssm.angle_count", most=states // 2)
        return replace(
            super().read_gguf(m),
            trapezoidal=TrapezoidalShape(heads, width, groups, states, angles=angles),
            slowest_decay=m.number("ssm.slowest_decay", 1e-4, least=1e-9, most=1.0),
            hidden=m.integer("feed_forward_length", 0, least=0),
        )

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the same from a config.json written by the authors' code."""
        own = m.within("ssm_cfg", "ssm_cfg: ")
        if own.get("layer") != "Mamba3":
            own.refuse("layer", "Mamba3 (others are not supported)", own.get("layer"))
        own.refuse_features({"is_mimo": (False,), "is_outproj_norm": (False,)})
        if m.get("attn_layer_idx", []) != []:
            m.fail("attn_layer_idx", f"is {m.get('attn_layer_idx')!r:.80}: attention layers are not supported")
        for key in own.values:
            if key not in (*_KEYS, *_TRAINING_KEYS):
                own.fail(key, "is not supported")
        width, unit = m.integer("d_model"), m.integer("pad_vocab_size_multiple", 8, most=1 << 16)
        inner, of_head = own.integer("expand", 2, most=64) * width, own.integer("headdim", 64, most=4096)
        if inner % of_head or inner > 32768:
            own.refuse("headdim", f"a divisor of the number of channels, {inner}, which may be at most 32768", of_head)
        states = own.integer("d_state", 128, most=MOST_STATES)
        heads, groups = inner // of_head, own.integer("ngroups", 1, most=4096)
        if heads % groups:
            own.refuse("ngroups", f"a divisor of the {heads} heads", groups)
        turned = own.number("rope_fraction", 0.5)
        if turned not in (0.5, 1.0) or states * turned < 2:
            own.refuse("rope_fraction", f"0.5 or 1.0, and cover at least two of the {states} columns", turned)
        hidden = -(-m.integer("d_intermediate", 0, least=0) // _NET_UNIT) * _NET_UNIT
        common = {
            "hidden_size": width,
            "num_hidden_layers": m.integer("n_layer", most=1024),
            "vocab_size": -(-m.integer("vocab_size") // unit) * unit,
            "tie_word_embeddings": m.flag("tie_embeddings", True),
            "layer_norm_epsilon": _EPSILON,
        }
        return replace(
            super().read_hf(Metadata({**m.values, **common}, m.source)),
            trapezoidal=TrapezoidalShape(heads, of_head, groups, states, angles=int(states * turned) // 2),
            slowest_decay=own.number("A_floor", 1e-4, least=1e-9, most=1.0),
            hidden=hidden,
        )

    @classmethod
    def row_counts(cls, config: Config) -> dict[str, int]:
        """Return the row counts of matrices that files store fused."""
        s = config.trapezoidal
        assert s is not None
        sizes = (s.inner, s.inner, s.columns, s.columns, s.controls)
        return super().row_counts(config) | dict(zip(TRAPEZOIDAL_INPUTS, sizes, strict=True))

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows of feed-forward networks."""
        return super().buffers() | (net_buffers("", self.config.hidden) if self.config.hidden else {})

    def scan_buffers(self) -> dict[str, Buffer]:
        """Return the row vectors of a scan."""
        s = self.config.trapezoidal
        assert s is not None
        names = ("z", "mixed", "b", "c", "controls", "scanned")
        widths = (s.inner, s.inner, s.columns, s.columns, s.controls, s.inner)
        rows = {name: Buffer(width) for name, width in zip(names, widths, strict=True)}
        return rows | {"gated": Buffer(s.inner, wide=True)}

    def layer(self, i: int) -> None:
        """Append a norm and a scan layer, and in models with feed-forward networks a norm and a network."""
        super().layer(i)
        if self.config.hidden:
            self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
            self.feed_forward(i, "x", accumulate=True)

    def scan(self, i: int) -> None:
        """Append a projection of "normed", norms of B and C, the scan, and its gate."""
        c, p, s = self.config, f"blk.{i}.", self.config.trapezoidal
        assert s is not None
        rows = self.row_counts(c)
        targets = zip(TRAPEZOIDAL_INPUTS, ("z", "mixed", "b", "c", "controls"), strict=True)
        self.ops.append(Linear("normed", tuple(self.target(to, p + stem, rows[stem], c.width) for stem, to in targets)))
        for buffer in ("b", "c"):
            gain = f"{p}ssm_{buffer}_norm.weight"
            self.vector(gain, s.states)
            self.ops.append(Norm(buffer, buffer, gain, _EPSILON, heads=s.groups))
        step, to_b, to_c, skip = (p + name for name in ("ssm_dt.bias", "ssm_b.bias", "ssm_c.bias", "ssm_d"))
        for name, columns in ((step, 1), (to_b, s.states), (to_c, s.states), (skip, 1)):
            self.vector(name, s.heads * columns)
        layer = sum(isinstance(op, Recurrent) for op in self.ops)
        names = ("mixed", "b", "c", "controls", "scanned", step, to_b, to_c, skip)
        self.ops.append(TrapezoidalScan(*names, c.slowest_decay, layer, *s))
        self.gate("z", "scanned", "gated", "silu")

    def project_scan(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the output projection."""
        s = self.config.trapezoidal
        assert s is not None
        target = self.target(buffer, f"blk.{i}.ssm_out", self.config.width, s.inner, accumulate=accumulate)
        self.ops.append(Linear("gated", (target,)))
