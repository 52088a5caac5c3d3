"""Shared parts of decoder architectures. An architecture is a subclass of Decoder with a few lines."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.models.aspects.op import Op, Recurrent
from intact.models.aspects.parameters import float_values
from intact.models.aspects.tables import Buffer
from intact.models.config import check_config, exact
from intact.models.decoder_files import DecoderFiles
from intact.models.gathers import add_gathers, has_index, input_count
from intact.models.input_limits import add_limits, limit_name, read_limit
from intact.models.mixtures import (
    CHOICE_BIAS,
    EXPERTS,
    ROUTER,
    SHARED,
    SHARED_GATE,
    ExpertMixture,
)
from intact.models.names import (
    FEED_FORWARD,
    SCAN_INPUTS,
)
from intact.models.ops import Attend, Convolve, Embed, Expert, Experts, Gate, Linear, Logits, Norm, Rope, Scan, Target
from intact.models.program import Program
from intact.models.rotary import FACTORS, divisors
from intact.models.rotations import add_rotations, rotation_name, rotation_size
from intact.numerics.gate import Activation
from intact.numerics.rope import attention_factor, rotation

NormPlaces: TypeAlias = Literal["before", "after", "both", "parallel"]


def inverse_root(x: float) -> Fraction:
    """Return 1 / sqrt(x) to 60 bits."""
    exact = Fraction(x)
    return Fraction(1 << 60, math.isqrt((exact.numerator << 120) // exact.denominator))


def root(x: int) -> Fraction:
    """Return sqrt(x) to 30 bits."""
    return Fraction(math.isqrt(x << 60), 1 << 30)


class Decoder(DecoderFiles):
    """One architecture: reads its files, and builds a Program from them.

    By default, layers consist of attention and a gated feed-forward network around a residual stream. A subclass with
    its own name `gguf` is an architecture and is discovered automatically (`intact.models.ARCHITECTURES`). The
    attributes here and in `DecoderFiles` describe it.
    """

    activation: ClassVar[Activation] = "silu"
    gated: ClassVar[bool] = True
    """If false, feed-forward networks have no gate."""
    squared: ClassVar[bool] = False
    """If true, networks without a gate multiply the activation by its input; for ReLU, this is its square."""
    norms: ClassVar[NormPlaces] = "before"
    """Position of the norms: before attention and feed-forward network, after them (before the residual sum), both, or
    one norm before the two, which then run in parallel."""
    causal: ClassVar[bool] = True
    """If false, the architecture is an encoder: rows also see later positions."""
    norm_biases: ClassVar[bool] = False
    """If true, layer norms have biases."""
    ffn_norm: ClassVar[str] = "ffn_norm"
    """GGUF name of the norm before the feed-forward network."""
    head_norms: ClassVar[bool] = False
    """If true, queries and keys are normed."""
    norms_rows: ClassVar[bool] = False
    """If true, these norms apply to whole rows instead of each head."""
    sinks: ClassVar[bool] = False
    """If true, each attention head has a sink."""
    norms_rotated: ClassVar[bool] = False
    """If true, these norms come after the rotary embedding."""
    gguf_interleaves: ClassVar[bool] = False
    """If true, rotary pairs are adjacent in GGUF files; otherwise they are half a head apart."""
    hf_interleaves: ClassVar[bool] = False
    """If true, rotary pairs are adjacent in safetensors."""
    expert_scales: ClassVar[str] = ""
    """GGUF name, within a layer, of the tensor with a factor for each expert's weight; empty for none."""
    hf_gain_offset: ClassVar[float] = 0.0
    """Offset added to the norm gains stored in safetensors."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = checkpoint.path
        self.config = check_config(self.read_config(checkpoint), self.path)
        self.tensors = self.canonical_tensors(self.split(checkpoint, self.config))
        self.used: dict[str, Tensor] = {}
        self.rotated: dict[str, int] = {}
        self.limits: dict[str, float] = {}
        self.ops: list[Op] = []

    def layer(self, i: int) -> None:
        """Append layer i: attention and feed-forward network, each with its norms and residual sum."""
        c, p = self.config, f"blk.{i}."
        window = c.window if c.is_local[i] else 0
        interleaved = self.gguf_interleaves if c.from_gguf else self.hf_interleaves
        after = self.norms in ("after", "both")
        if self.norms != "after":
            self.norm("x", "normed", p + "attn_norm.weight")
        head_norms = self.head_norms if c.head_norms is None else c.head_norms
        self.attention(i, interleaved=interleaved, head_norms=head_norms, rotary=self.rotary(i), window=window)
        self.project(i, "result" if after else "x", accumulate=not after)
        if after:
            self.norm("result", "x", p + "post_attention_norm.weight", accumulate=True)
        if self.norms in ("before", "both"):
            self.norm("x", "normed", p + self.ffn_norm + ".weight")
        self.feed_forward(i, "result" if after else "x", accumulate=not after)
        if after:
            self.norm("result", "x", p + "post_ffw_norm.weight", accumulate=True)

    def rotary(self, i: int) -> int:
        """Return the index into `rotations` for layer i; -1 for none."""
        return -1 if i in self.config.unrotated_layers else 0

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies for each kind of rotary layer; the checkpoint's scaling applies only to the first."""
        c = self.config
        factors = None
        if c.rope_scaling.get("type") == "longrope":
            name, factors = divisors(c.rope_scaling, c.context)
            if factors is None:
                factors = self.vector(name, c.rope_width // 2)
        elif "rope_freqs.weight" in self.tensors:
            factors = self.vector("rope_freqs.weight", c.rope_width // 2)
        return (rotation(c.rope_base, c.rope_width, c.rope_scaling, factors),)

    def embed(self) -> None:
        """Append the embedding, multiplied by its factor.

        If results are multiplied by m before the residual sum, the stream holds the sum divided by m, so layers need no
        multiplication. Apart from their epsilon, norms are not affected by this.
        """
        c = self.config
        scale = c.embedding_scale / c.residual_scale
        if scale >= 1 << 12:
            raise ModelError(f"{self.path}: an embedding times {float(scale):.6g} is too large for fixed point")
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, c.width), scale))

    def buffers(self) -> dict[str, Buffer]:
        """Return the row vectors between operations, by name."""
        c = self.config
        keys = c.kv_heads * c.head_width
        more = {"result": Buffer(c.width, wide=True)} if self.norms in ("after", "both") else {}
        m = c.mixture
        if m is None or len(m.dense) > 0:
            more |= net_buffers("", c.hidden)
        if m is not None:
            more |= {"scores": Buffer(m.count)}
        if m is not None and m.shared_gate:
            more |= {"share": Buffer(1)}
        elif m is not None and m.shared:
            more |= net_buffers("shared_", m.shared)
        return {
            "x": Buffer(c.width, wide=True),
            "normed": Buffer(c.width),
            "q": Buffer(c.heads * c.head_width),
            "k": Buffer(keys),
            "v": Buffer(keys),
            "attended": Buffer(c.heads * c.head_width),
            **more,
        }

    def build(self) -> Program:
        """Build the whole program.

        Raises
        ------
        ModelError
            If a tensor is missing, has the wrong shape, or is not used.
        """
        c = self.config
        self.embed()
        for i in range(c.layers):
            self.layer(i)
        vocabulary = self.used["token_embd.weight"].shape[0]
        if c.vocabulary not in (None, vocabulary):
            raise ModelError(
                f"{self.path}: tensor token_embd.weight has {vocabulary} rows, but vocab_size is {c.vocabulary}"
            )
        tied = "output.weight" not in self.tensors if c.tied is None else c.tied
        self.finish(tied, vocabulary)
        for name in ("token_embd.weight", "output.weight"):
            if name in self.used and has_index(self.used[name]):
                what = "embeddings and heads multiply the model's inputs in order"
                raise ModelError(f"{self.path}: tensor {self.used[name].name} has an index of its inputs, but {what}")
        rotations = self.rotations()
        factors = (attention_factor(c.rope_scaling), *(Fraction(1) for _ in rotations[1:]))
        lists = FACTORS if c.rope_scaling.get("type") == "longrope" else ()
        self.refuse_unused({"output.weight", *lists, *c.other_heads} if tied else {*lists, *c.other_heads})
        ops, buffers = add_rotations(tuple(self.ops), self.buffers(), self.rotated)
        ops, buffers = add_gathers(ops, buffers, self.used)
        ops = add_limits(ops, self.limits)
        return Program(
            architecture=self.gguf,
            buffers=buffers,
            ops=ops,
            tensors=self.used,
            rotations=rotations,
            layers=len({op.layer for op in ops if isinstance(op, Attend)}),
            kv_heads=c.kv_heads,
            head_width=c.head_width,
            vocabulary=vocabulary,
            context=c.context,
            rotation_factors=() if set(factors) == {Fraction(1)} else factors,
        )

    def finish(self, tied: bool, vocabulary: int) -> None:
        """Append the last norm and the head, which is the embedding if tied."""
        c = self.config
        self.norm("x", "normed", "output_norm.weight", factor=c.logit_scale)
        head = "token_embd.weight" if tied else "output.weight"
        self.ops.append(Logits("normed", self.matrix(head, vocabulary, c.width), c.logit_cap))

    # Building blocks of `layer`: each method appends one operation and checks the tensors that it names.

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its canonical name, and mark it as used."""
        if name not in self.tensors:
            own = self.gguf_names.get(name, name) if self.config.from_gguf else self.hf_name(name)
            raise ModelError(f"{self.path}: tensor {own} is missing; a {self.gguf} model needs it")
        self.used[name] = self.tensors[name]
        return self.tensors[name]

    def refuse_unused(self, harmless: set[str]) -> None:
        """Refuse a file with an unused tensor: the file holds a different model from the one that was built.

        Zero biases, which old GPTQ files contain for every matrix of a layer, are accepted, since they have no effect.
        """
        others = {name: tensor for name, tensor in self.tensors.items() if name not in self.used.keys() | harmless}
        zeros = {f"{matrix}.bias" for matrix in self.biases}
        unused = [t.name for name, t in others.items() if name.split(".", 2)[-1] not in zeros or t.data.any()]
        if unused:
            more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
            what = f"a {self.gguf} model of {self.config.layers} layers"
            raise ModelError(f"{self.path}: tensor {unused[0]:.80}{more}: not part of {what}")

    def matrix(self, name: str, rows: int | None, columns: int) -> str:
        """Check that a matrix exists with this shape, and return its name; `rows` may be None for any number."""
        tensor = self.tensor(name)
        shape = tensor.shape if len(tensor.shape) != 2 else (tensor.shape[0], input_count(tensor))
        if len(shape) != 2 or shape[1] != columns or not shape[0] or (rows is not None and shape[0] != rows):
            expected = f"({rows or 'tokens'}, {columns})"
            raise ModelError(f"{self.path}: tensor {tensor.name} has shape {shape}, expected {expected}")
        return name

    def vector(self, name: str, length: int) -> NDArray[np.float32]:
        """Return a vector's values as float32."""
        return float_values(self.tensor(name), length, self.path)

    def norm(
        self,
        source: str,
        target: str,
        gain: str,
        heads: int = 0,
        accumulate: bool = False,
        factor: Fraction = Fraction(1),
        width: int | None = None,
        groups: int = 1,
    ) -> None:
        """Append a norm over a row, its heads or its groups of columns; `width` overrides the width of a row or head.

        The gain has a value for each column of a row, but with heads one gain is shared by all of them.
        """
        c = self.config
        self.vector(gain, width or (c.head_width if heads else c.width))
        offset = 0.0 if c.from_gguf else self.hf_gain_offset
        eps = c.eps if source != "x" or c.residual_scale == 1 else float(exact(c.eps) / c.residual_scale**2)
        centered = self.layer_norms and not heads
        bias = gain.removesuffix("weight") + "bias" if centered and self.norm_biases else None
        if bias:
            self.vector(bias, width or c.width)
        self.ops.append(
            Norm(
                source,
                target,
                gain,
                eps,
                heads=heads,
                accumulate=accumulate,
                offset=offset,
                factor=factor,
                centered=centered,
                bias=bias,
                groups=groups,
            )
        )

    def target(self, buffer: str, stem: str, rows: int, columns: int, accumulate: bool = False) -> Target:
        """Return one matrix of a Linear, with its bias, if any."""
        words = stem.split(".")
        wanted = self.config.biases.get(words[2] if words[0] == "blk" else words[0], stem + ".bias" in self.tensors)
        bias = stem + ".bias" if wanted else None
        if bias:
            self.vector(bias, rows)
        weight = self.matrix(stem + ".weight", rows, columns)
        if (rotation := rotation_name(weight)) in self.tensors:
            values = self.vector(rotation, 1)
            self.rotated[weight] = rotation_size(values, columns, f"{self.path}: tensor {self.tensors[rotation].name}")
        if (limit := limit_name(weight)) in self.tensors:
            values = self.vector(limit, 1)
            self.limits[weight] = read_limit(values, f"{self.path}: tensor {self.tensors[limit].name}")
        return Target(buffer, weight, bias, accumulate)

    def attention(
        self, i: int, interleaved: bool = False, head_norms: bool = False, rotary: int = 0, window: int = 0
    ) -> None:
        """Append query, key and value, the rotary embedding (-1: none), and attention, which writes "attended"."""
        c, p = self.config, f"blk.{i}."
        q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
        self.attention_inputs(i)
        if self.norms_rotated:
            self.rotate("q", rotary, c.heads, c.head_width, interleaved=interleaved)
            self.rotate("k", rotary, c.kv_heads, c.head_width, interleaved=interleaved)
        if head_norms:
            for buffer, heads, row in (("q", c.heads, q), ("k", c.kv_heads, kv)):
                gain = f"{p}attn_{buffer}_norm.weight"
                self.norm(buffer, buffer, gain, 1 if self.norms_rows else heads, width=row if self.norms_rows else None)
        if not self.norms_rotated:
            self.rotate("q", rotary, c.heads, c.head_width, interleaved=interleaved)
            self.rotate("k", rotary, c.kv_heads, c.head_width, interleaved=interleaved)
        scale = inverse_root(c.query_width) if c.score_scale is None else c.score_scale
        sinks = p + "attn_sinks.weight" if self.sinks else None
        if sinks:
            self.vector(sinks, c.heads)
        cached = sum(isinstance(op, Attend) for op in self.ops)
        self.ops.append(
            Attend(
                *("q", "k", "v", "attended"),
                layer=cached,
                heads=c.heads,
                kv_heads=c.kv_heads,
                width=c.head_width,
                scale=scale,
                window=window,
                cap=c.score_cap,
                sinks=sinks,
                causal=self.causal,
            )
        )

    def attention_inputs(self, i: int) -> None:
        """Append the projections to "q", "k" and "v"."""
        c, p = self.config, f"blk.{i}."
        q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
        self.ops.append(
            Linear(
                "x" if self.norms == "after" else "normed",
                (
                    self.target("q", p + "attn_q", q, c.width),
                    self.target("k", p + "attn_k", kv, c.width),
                    self.target("v", p + "attn_v", kv, c.width),
                ),
            )
        )

    def rotate(self, buffer: str, rotary: int, heads: int, width: int, interleaved: bool) -> None:
        """Append the rotary embedding of each head's first columns; nothing for -1."""
        if rotary >= 0:
            self.ops.append(Rope(buffer, rotary, heads, width, interleaved=interleaved))

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append attention's output projection."""
        c = self.config
        columns = c.heads * c.head_width
        self.ops.append(
            Linear("attended", (self.target(buffer, f"blk.{i}.attn_output", c.width, columns, accumulate=accumulate),))
        )

    def convolution(self, i: int, taps: int, buffer: str, accumulate: bool) -> None:
        """Append a gated short convolution of "normed" and its output projection."""
        c, p = self.config, f"blk.{i}.shortconv."
        self.ops.append(Linear("normed", (self.target("parts", p + "in_proj", 3 * c.width, c.width),)))
        weight = self.matrix(p + "conv.weight", c.width, taps)
        cached = sum(isinstance(op, Convolve) for op in self.ops)
        self.ops.append(Convolve("parts", "convolved", weight, cached, width=c.width, taps=taps))
        self.ops.append(
            Linear("convolved", (self.target(buffer, p + "out_proj", c.width, c.width, accumulate=accumulate),))
        )

    def scan(self, i: int) -> None:
        """Append a state-space layer on "normed" up to its output projection: input projection, scan, gate and norm."""
        c, p, shape = self.config, f"blk.{i}.", self.config.scan
        assert shape is not None
        targets = (("z", shape.inner), ("mixed", shape.channels), ("steps", shape.heads))
        self.ops.append(
            Linear(
                "normed",
                tuple(
                    self.target(to, p + stem, rows, c.width)
                    for stem, (to, rows) in zip(SCAN_INPUTS, targets, strict=True)
                ),
            )
        )
        weight = self.matrix(p + "ssm_conv1d.weight", shape.channels, c.taps)
        bias = p + "ssm_conv1d.bias" if c.biases.get("ssm_conv1d", True) else None
        if bias:
            self.vector(bias, shape.channels)
        steps, decay, skip = (p + name for name in ("ssm_dt.bias", "ssm_a", "ssm_d"))
        for name in (steps, decay, skip):
            self.vector(name, shape.heads)
        cached = sum(isinstance(op, Recurrent) for op in self.ops)
        self.ops.append(
            Scan(
                *("mixed", "steps", "scanned"),
                weight=weight,
                bias=bias,
                step_bias=steps,
                decay=decay,
                skip=skip,
                layer=cached,
                taps=c.taps,
                heads=shape.heads,
                width=shape.width,
                groups=shape.groups,
                states=shape.states,
            )
        )
        self.gate("z", "scanned", "gated", "silu")
        if c.scan_norm:
            self.norm("gated", "normed_inner", p + "ssm_norm.weight", width=shape.inner, groups=shape.groups)

    def project_scan(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the output projection of a state-space layer."""
        c, shape = self.config, self.config.scan
        assert shape is not None
        source = "normed_inner" if c.scan_norm else "gated"
        target = self.target(buffer, f"blk.{i}.ssm_out", c.width, shape.inner, accumulate=accumulate)
        self.ops.append(Linear(source, (target,)))

    def scan_buffers(self) -> dict[str, Buffer]:
        """Return the row vectors of state-space layers."""
        shape = self.config.scan
        assert shape is not None
        return {
            "z": Buffer(shape.inner),
            "mixed": Buffer(shape.channels),
            "steps": Buffer(shape.heads),
            "scanned": Buffer(shape.inner),
            "gated": Buffer(shape.inner, wide=True),
            **({"normed_inner": Buffer(shape.inner)} if self.config.scan_norm else {}),
        }

    @property
    def net_source(self) -> str:
        """The buffer that feed-forward networks and experts read."""
        return "x" if self.norms == "after" else "normed"

    def ones(self, width: int) -> str:
        """Return the name of a gain of ones, which is not in the file."""
        name = f"ones.{width}"
        self.used[name] = Tensor(name, "F32", (width,), np.ones(width, "<f4").view(np.uint8))
        return name

    def feed_forward(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the feed-forward network or the mixture of experts."""
        m = self.config.mixture
        if m is None or i in m.dense:
            self.net(f"blk.{i}.", FEED_FORWARD, "", self.config.hidden, buffer=buffer, accumulate=accumulate)
            return
        self.experts(i, m, buffer, accumulate)
        if m.shared and not m.shared_gate:
            self.net(f"blk.{i}.", SHARED, "shared_", m.shared, buffer=buffer, accumulate=True)

    def net(
        self, layer: str, stems: tuple[str, str, str], buffers: str, hidden: int, buffer: str, accumulate: bool
    ) -> None:
        """Append a feed-forward network; `buffers` is the prefix of its buffers' names."""
        width, source = self.config.width, self.net_source
        gate, up, inner = (buffers + name for name in ("gate", "up", "hidden"))
        first = [(gate, stems[0])] if self.gated else []
        targets = (self.target(to, layer + stem, hidden, width) for to, stem in (*first, (up, stems[1])))
        self.ops.append(Linear(source, tuple(targets)))
        second = up if self.gated or self.squared else None
        self.gate(gate if self.gated else up, second, inner, self.activation)
        self.ops.append(Linear(inner, (self.target(buffer, layer + stems[2], width, hidden, accumulate=accumulate),)))

    def gate(self, gate: str, up: str | None, target: str, kind: Activation) -> None:
        """Append a gated activation of two rows, or an activation of a single row."""
        self.ops.append(Gate(gate, up, target, kind))

    def experts(self, i: int, m: ExpertMixture, buffer: str, accumulate: bool) -> None:
        """Append the experts' scores and the experts; also the shared expert, if it is weighted by a gate."""
        p, width, source = f"blk.{i}.", self.config.width, self.net_source
        self.scores(i, m.count)
        bias = f"{p}{CHOICE_BIAS}.bias" if m.biased else None
        if bias:
            self.vector(bias, m.count)
        scales = p + self.expert_scales if self.expert_scales else None
        if scales:
            self.vector(scales, m.count)
        chosen = tuple(self.expert([f"{p}{stem}.{e}" for stem in EXPERTS], m.hidden) for e in range(m.count))
        kind = self.activation
        self.ops.append(
            Experts(
                source,
                "scores",
                buffer,
                chosen,
                used=m.used,
                hidden=m.hidden,
                kind=kind,
                weights=m.weights,
                factor=m.factor,
                accumulate=accumulate,
                bias=bias,
                groups=m.groups,
                groups_used=m.groups_used,
                scales=scales,
            )
        )
        if m.shared and m.shared_gate:
            self.ops.append(Linear(source, (self.target("share", p + SHARED_GATE, 1, width),)))
            shared = self.expert([p + stem for stem in SHARED], m.shared)
            whole = Experts(
                source,
                "share",
                buffer,
                (shared,),
                used=1,
                hidden=m.shared,
                kind=self.activation,
                weights="sigmoid",
                accumulate=True,
            )
            self.ops.append(whole)

    def scores(self, i: int, count: int) -> None:
        """Append the experts' scores."""
        target = self.target("scores", f"blk.{i}.{ROUTER}", count, self.config.width)
        self.ops.append(Linear(self.net_source, (target,)))

    def expert(self, stems: list[str], hidden: int) -> Expert:
        """Return an expert: its gate, up and down matrices, with their biases if any.

        In networks without a gate that square their activation, up also serves as the gate.
        """
        width = self.config.width
        gate = self.target("", stems[0] if self.gated else stems[1], hidden, width)
        up = self.target("", stems[1], hidden, width)
        down = self.target("", stems[2], width, hidden)
        for part in (gate, up, down):
            if part.weight in self.rotated or (part.weight in self.used and has_index(self.used[part.weight])):
                raise ModelError(f"{self.path}: tensor {part.weight}: experts cannot have rotated or reordered inputs")
        return Expert(gate.weight, up.weight, down.weight, gate.bias, up_bias=up.bias, down_bias=down.bias)


def net_buffers(start: str, hidden: int) -> dict[str, Buffer]:
    """Return the buffers of a feed-forward network."""
    return {
        start + "gate": Buffer(hidden),
        start + "up": Buffer(hidden),
        start + "hidden": Buffer(hidden, wide=True),
    }
