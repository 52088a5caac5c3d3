"""The NumPy executor: runs a Program by the normative arithmetic, slowly and readably."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.executors.base import (
    LOGIT_FRACTION,
    Exchanger,
    KeptInputs,
    SequenceChunk,
    check_adapters,
    check_codec,
    check_consecutive,
    check_embedding,
    check_exchanges,
    check_experts,
    check_whole,
    choice_bias,
    convolution_taps,
    delta_weights,
    embed_multiplier,
    expert_scales,
    gather_index,
    input_scale,
    integer_bias,
    integer_gain,
    integer_multiplier,
    integer_room,
    integer_sinks,
    integer_weight,
    kept_inputs,
    scan_weights,
    scatter_columns,
    selective_weights,
    state_slots,
    trapezoidal_weights,
)
from intact.executors.outliers import with_outliers
from intact.executors.profiles import Profile, parse_profile
from intact.models.program import (
    Adapt,
    AllGather,
    Attend,
    Convolution,
    Convolve,
    ConvolveSilu,
    Embed,
    Expert,
    Experts,
    Gate,
    GatedDelta,
    GatedRecurrence,
    Gather,
    Hadamard,
    Linear,
    Logits,
    Multiply,
    Norm,
    Program,
    Recurrent,
    Rope,
    Scan,
    Scatter,
    SelectiveScan,
    Steer,
    TrapezoidalScan,
)
from intact.numerics import sampling
from intact.numerics.activations import FixedScale, Quantized, quantize, quantize_fixed, to_bytes
from intact.numerics.attention import Heads, attend, quantize_keys, quantize_query, quantize_values, score_scale
from intact.numerics.convolve import ConvolutionRows, convolution_rows, convolve
from intact.numerics.delta import DeltaRows, DeltaWeights, delta_row, delta_rows, written_row
from intact.numerics.delta import end_block as end_delta_block
from intact.numerics.exact_product import exact_product
from intact.numerics.experts import Groups, choose, scaled, weight_factor
from intact.numerics.fixed import LIMIT, rshift, sat32
from intact.numerics.gate import Activation, gated
from intact.numerics.gather import gather
from intact.numerics.hadamard import hadamard
from intact.numerics.hgrn import advance as advance_recurrence
from intact.numerics.hgrn import cached_rows as recurrence_cached
from intact.numerics.hgrn import recurrence_row, recurrence_rows
from intact.numerics.hgrn import zero_state as recurrence_state
from intact.numerics.kv_codecs.definition import (
    KEY_UNIT,
    VALUE_UNIT,
    narrow,
    rotate_kept,
    rotate_query,
    widen,
)
from intact.numerics.matmul import matmul
from intact.numerics.multiply import multiply as multiply_row
from intact.numerics.norm import Gain, layer_norm, rmsnorm
from intact.numerics.rope import rotate, sine_cosine
from intact.numerics.scan import (
    BLOCK,
    RecurrentState,
    ScanWeights,
    cached_rows,
    convolved,
    end_block,
    input_rows,
    scan_row,
    scan_rows,
    zero_state,
)
from intact.numerics.scatter import scatter
from intact.numerics.selective import SelectiveWeights, advance, selective_row, selective_rows
from intact.numerics.selective import cached_rows as selective_cached
from intact.numerics.selective import zero_state as selective_state
from intact.numerics.soft_cap import make_soft_cap, score_cap, soft_cap
from intact.numerics.sparsity import sparsify
from intact.numerics.trapezoidal import (
    TrapezoidalRows,
    TrapezoidalState,
    TrapezoidalWeights,
    trapezoidal_row,
)
from intact.numerics.trapezoidal import advance as advance_trapezoidal
from intact.numerics.trapezoidal import zero_state as trapezoidal_state
from intact.numerics.weights import BlockWeight

Rows = NDArray[np.int64]


class ReferenceExecutor:
    """The integer profiles, one operation after the other, on whole rows of int64."""

    layout = "reference 1"

    def __init__(
        self,
        program: Program,
        bits: int = 8,
        page_size: int = 32,
        profile: Profile = "int8",
        exchange: Exchanger | None = None,
    ) -> None:
        check_exchanges(program, exchange)
        self._exchange = exchange
        self.profile, self._parts = profile, parse_profile(profile)
        check_experts(program, self._parts)
        check_adapters(program, self._parts)
        check_codec(program, self._parts)
        self.trees = not program.recurrent() and not program.is_encoder
        products = [(i, op) for i, op in enumerate(program.ops) if isinstance(op, Linear)]
        self._scales: dict[int, FixedScale | None] = {i: input_scale(program, op, self._parts) for i, op in products}
        self._kept: dict[int, KeptInputs | None] = {}
        program, self._outliers = with_outliers(program, self._parts)
        self._recurrent = [_recurrent_weights(program, op) for op in program.recurrent()]
        self.program, self.page_size, self.bits = program, page_size, bits
        self._weights: dict[str, BlockWeight] = {}
        self.recording = False
        self._recorded: dict[int, Quantized] = {}
        self._gains: dict[str, Gain] = {}
        # per layer: keys, their scales, values, their scales; the first axis is the slot, page * page_size + place
        shapes = [(0, program.kv_heads, program.head_width), (0, program.kv_heads)] * 2
        self._cache: list[list[Rows]] = [[np.zeros(shape, np.int64) for shape in shapes] for _ in range(program.layers)]
        # per convolution: codes, their exponent
        self._cache += [[np.zeros((0, op.width), np.int64), np.zeros(0, np.int64)] for op in program.convolutions()]
        # per recurrent layer: what enters the convolution with its exponent, then x, B and C, each with its exponent,
        # and steps; or queries, keys, steps and what rows write; a selective scan has no convolution
        self._states: list[list[Rows]] = []  # behind each block that ends in a page, whose number is the first axis
        for layer in program.recurrent():
            if isinstance(layer, SelectiveScan):
                columns = (layer.channels,), (layer.states,), (), (layer.states,), (), (layer.channels,)
                self._cache.append([np.zeros((0, *width), np.int64) for width in columns])
                of_states = (layer.channels, layer.states), (layer.channels,)
                self._states.append([np.zeros((0, *width), np.int64) for width in of_states])
                continue
            if isinstance(layer, GatedRecurrence):
                self._cache.append([np.zeros((0, layer.channels), np.int64) for _ in range(2)])
                self._states.append([np.zeros((0, layer.channels), np.int64)])
                continue
            if isinstance(layer, TrapezoidalScan):
                shape = layer.shape
                parts = (shape.inner, shape.columns, shape.columns, shape.controls)
                self._cache.append([np.zeros((0, width), np.int64) for width in parts])
                self._states.append([np.zeros((0, *part.shape), np.int64) for part in trapezoidal_state(shape)])
                continue
            inner, both, heads = (layer.shape.inner,), (layer.groups * layer.states,), (layer.heads,)
            if isinstance(layer, Scan):
                kept: Sequence[tuple[int, ...]] = (inner, (), both, (), both, (), heads)
                states: Sequence[tuple[int, ...]] = ((layer.heads, layer.width, layer.states), heads)
            else:
                kept, states = (both, both, heads, inner), ((layer.heads, layer.states, layer.width),)
            widths = ((layer.shape.channels,), (), *kept)
            self._cache.append([np.zeros((0, *width), np.int64) for width in widths])
            self._states.append([np.zeros((0, *width), np.int64) for width in states])
        self.saturated = 0  # numbers of recurrent states that came to the limit
        self._head: Quantized | None = None  # what entered it in the last step

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier and threads in use."""
        return {"executor": "reference", "tier": "numpy", "threads": 1}

    @property
    def page_bytes(self) -> int:
        """Bytes of a page."""
        rows, states = (
            sum(int(np.prod(array.shape[1:])) for arrays in lists for array in arrays)
            for lists in (self._cache, self._states)
        )
        return 8 * (self.page_size * rows + state_slots(self.page_size) * states)

    def close(self) -> None:
        """Free the weights and the pages; nothing can run any more."""
        self._cache, self._states, self._weights, self._gains, self._head = [], [], {}, {}, None

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are so many."""
        for lists, size in ((self._cache, self.page_size), (self._states, state_slots(self.page_size))):
            for arrays in lists:
                for i, old in enumerate(arrays):
                    more = max(0, count * size - len(old))
                    arrays[i] = np.concatenate([old, np.zeros((more, *old.shape[1:]), np.int64)])

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page onto another."""
        for to, part in zip(self._page(target), self._page(source), strict=True):
            to[:] = part

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return a copy of the bytes of a page: of each layer keys, their scales, values, their scales, as int64."""
        return np.concatenate([part.reshape(-1) for part in self._page(page)]).view(np.uint8)

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Set the bytes of a page to what `read_page` returned."""
        if len(data) != self.page_bytes:
            raise ParameterError(f"a page has {self.page_bytes} bytes, got {len(data)}")
        values, at = data.view(np.int64), 0
        for part in self._page(page):
            part[:] = values[at : at + part.size].reshape(part.shape)
            at += part.size

    def _page(self, page: int) -> list[Rows]:
        """Return the parts of the cache that belong to a page, as views."""
        return [
            array[page * size : (page + 1) * size]
            for lists, size in ((self._cache, self.page_size), (self._states, state_slots(self.page_size)))
            for arrays in lists
            for array in arrays
        ]

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Copy cached slots of one sequence towards its front, in ascending order."""
        slots = self._slots(pages)
        for source, target in zip(slots[sources].tolist(), slots[targets].tolist(), strict=True):
            for arrays in self._cache:
                for array in arrays:
                    array[target] = array[source]

    def _slots(self, pages: NDArray[np.int32]) -> Rows:
        """Return the cache's indices of the slots of a sequence with these pages."""
        return (pages.astype(np.int64)[:, None] * self.page_size + np.arange(self.page_size)).reshape(-1)

    def recorded(self, op: int) -> Quantized:
        """Return what entered a product, an operation of the program by its index, in the last recorded step."""
        return self._recorded[op]

    def _weight(self, name: str) -> BlockWeight:
        if name not in self._weights:
            self._weights[name] = integer_weight(self.program.tensors[name], self.bits, self._outliers.get(name, 0))
        return self._weights[name]

    def _gain(self, op: Norm) -> Gain:
        if op.gain not in self._gains:
            self._gains[op.gain] = integer_gain(self.program, op)
        return self._gains[op.gain]

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Logits in Q16 of the wanted rows, int32 (wanted, vocabulary)."""
        check_consecutive(self.program, chunks)
        check_whole(self.program, chunks)
        tokens = np.concatenate([c.tokens for c in chunks])
        positions = np.concatenate([_positions(c) for c in chunks])
        rotations = zip(self.program.rotations, self.program.factors(), strict=True)
        angles = [sine_cosine(positions, turns, factor) for turns, factor in rotations]
        rows: dict[str, Rows] = {}
        fraction = {name: 20 if buffer.wide else 16 for name, buffer in self.program.buffers.items()}
        for index, op in enumerate(self.program.ops):
            match op:
                case Embed():
                    rows[op.target] = self._embed(op, tokens, positions, chunks)
                case Norm():
                    self._norm(op, rows, fraction)
                case Gather():
                    fraction[op.target] = fraction[op.source]
                    rows[op.target] = gather(rows[op.source], gather_index(self.program, op))
                case Scatter():
                    fraction[op.target] = fraction[op.source]
                    old = rows[op.target] if op.keep else None
                    rows[op.target] = scatter(rows[op.source], scatter_columns(self.program, op), old)
                case Hadamard():
                    fraction[op.target] = fraction[op.source]
                    rows[op.target] = hadamard(rows[op.source], op.size)
                case Multiply():
                    wide = self.program.buffers[op.target].wide
                    fraction[op.target] = 20 if wide else 16
                    columns = slice(op.start, op.start + self.program.buffers[op.target].width)
                    number = integer_multiplier(self.program, op)
                    rows[op.target] = multiply_row(rows[op.source][:, columns], number, wide)
                case Linear():
                    if (scale := self._scales[index]) is not None:
                        a = quantize_fixed(rows[op.source], fraction[op.source], scale)
                    else:
                        outliers = self._outliers.get(op.source, 0)
                        a = quantize(rows[op.source], fraction[op.source], self._parts.scheme, outliers)
                    if index not in self._kept:
                        self._kept[index] = kept_inputs(self.program, op, self._parts)
                    if (kept := self._kept[index]) is not None:
                        a = sparsify(a, rows[op.source].shape[1], kept.keep, kept.norms, kept.rule)
                    if self.recording:
                        self._recorded[index] = a
                    for t in op.targets:
                        wide = self.program.buffers[t.buffer].wide
                        fraction[t.buffer] = 20 if wide else 16
                        multiply = exact_product if self._parts.scheme.wide else matmul
                        y = multiply(a, self._weight(t.weight), fraction[t.buffer])
                        y += 0 if t.bias is None else integer_bias(self.program, t.bias, fraction[t.buffer])
                        y = y if wide else sat32(y)
                        rows[t.buffer] = rows[t.buffer] + y if t.accumulate else y
                case Adapt():
                    self._adapt(op, rows, fraction, chunks)
                case Steer():
                    self._steer(op, rows, chunks)
                case AllGather():
                    rows[op.target] = self._exchanged(op, rows, len(tokens))
                case Rope():
                    heads = rows[op.buffer].reshape(len(tokens), op.heads, op.width)
                    rows[op.buffer] = rotate(heads, *angles[op.rotation], op.interleaved).reshape(len(tokens), -1)
                case Attend():
                    fraction[op.target] = 16
                    rows[op.target] = self._attend(op, rows, chunks)
                case Convolve():
                    fraction[op.target] = 20
                    rows[op.target] = self._convolve(op, rows[op.source], chunks)
                case ConvolveSilu():
                    fraction[op.target] = 16
                    rows[op.target] = self._convolve_silu(op, rows[op.source], chunks)
                case Scan():
                    fraction[op.target] = 16
                    rows[op.target] = self._scan(op, rows[op.source], rows[op.steps], chunks)
                case GatedDelta():
                    fraction[op.target] = 16
                    rows[op.target] = self._delta(op, rows[op.source], rows[op.steps], rows[op.beta], chunks)
                case SelectiveScan():
                    fraction[op.target] = 16
                    rows[op.target] = self._selective(op, rows, chunks)
                case GatedRecurrence():
                    fraction[op.target] = 16
                    rows[op.target] = self._recurrence(op, rows[op.source], rows[op.forget], chunks)
                case TrapezoidalScan():
                    fraction[op.target] = 16
                    rows[op.target] = self._trapezoidal(op, rows, chunks)
                case Gate():
                    rows[op.target] = gated(rows[op.gate], None if op.up is None else rows[op.up], op.kind)
                case Experts():
                    y = self._experts(op, rows, fraction)
                    rows[op.target] = rows[op.target] + y if op.accumulate else y
                case Logits():
                    if not len(wanted):
                        return np.zeros((0, self.program.vocabulary), np.int32)
                    self._head = a = quantize(rows[op.source][wanted], fraction[op.source])
                    if op.weight is None:
                        return np.zeros((len(wanted), 0), np.int32)
                    logits = sat32(matmul(a, self._weight(op.weight), LOGIT_FRACTION))
                    logits = soft_cap(logits, make_soft_cap(op.cap)) if op.cap else logits
        return logits.astype(np.int32)

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits as float32 (wanted, vocabulary)."""
        return self.step(chunks, wanted).astype(np.float32) / np.float32(1 << LOGIT_FRACTION)

    def _adapt(
        self, op: Adapt, rows: dict[str, Rows], fraction: dict[str, int], chunks: Sequence[SequenceChunk]
    ) -> None:
        """Add an adapter's change to the rows of sequences that have it, in place."""
        wide, y = self.program.buffers[op.target].wide, rows[op.target].copy()
        numbers = _adapters(chunks)
        for number, change in enumerate(op.changes):
            own = np.flatnonzero(numbers == number)
            if change is None or not len(own):
                continue
            x = quantize(rows[op.source][own], fraction[op.source], self._parts.scheme)
            inner = sat32(matmul(x, self._weight(change.down), 16))
            added = matmul(quantize(inner, 16, self._parts.scheme), self._weight(change.up), 20 if wide else 16)
            y[own] = y[own] + added if wide else sat32(y[own] + added)
        rows[op.target] = y

    def _steer(self, op: Steer, rows: dict[str, Rows], chunks: Sequence[SequenceChunk]) -> None:
        """Add an adapter's vector to the rows of sequences that have it."""
        numbers, y = _adapters(chunks), rows[op.target].copy()
        for number, name in enumerate(op.vectors):
            if name is not None:
                y[numbers == number] += integer_bias(self.program, name, 20)
        rows[op.target] = y

    def _exchanged(self, op: AllGather, rows: dict[str, Rows], count: int) -> Rows:
        """Return what an exchange leaves in its target."""
        assert self._exchange is not None
        whole = rows[op.target].copy() if op.accumulate else np.zeros((count, sum(op.widths)), np.int64)
        self._exchange(op, None if op.source is None else rows[op.source], whole)
        return whole

    def _embed(self, op: Embed, tokens: NDArray[np.int32], positions: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        x = self._rows_of(op.weight, tokens, embed_multiplier(op.scale))
        if op.positions is not None:
            x = x + self._rows_of(op.positions, op.first + positions, embed_multiplier(Fraction(1)))
        second = np.concatenate([_second_texts(chunk.tokens, op.separator) for chunk in chunks])
        for name, where in ((op.bias, ~second), (op.second_bias, second)):
            if name is not None:
                x = x + np.where(where[:, None], integer_bias(self.program, name, 20), 0)
        return x

    def _rows_of(self, name: str, rows: NDArray[np.integer], multiplier: int) -> Rows:
        w = self._weight(name)
        exponents = w.scale_exp if w.minimum_exp is None else np.maximum(w.scale_exp, w.minimum_exp)
        check_embedding(name, int(exponents.max()))
        return _embed(w, rows, multiplier)

    def _norm(self, op: Norm, rows: dict[str, Rows], fraction: dict[str, int]) -> None:
        gain, x = self._gain(op), rows[op.source]
        if op.heads:
            heads = rmsnorm(x.reshape(-1, len(gain.factor)), fraction[op.source], gain, 16)
            rows[op.target] = sat32(heads).reshape(x.shape)
            return
        wide = self.program.buffers[op.target].wide
        if op.centered:
            fraction[op.target] = 20 if wide else 16
            y = layer_norm(x, gain, None if op.bias is None else integer_bias(self.program, op.bias, 20))
            y = y if wide else sat32(rshift(y, 4))
        else:
            fraction[op.target] = 20 if wide else gain.fraction
            y = rmsnorm(x, 20, gain, fraction[op.target], op.groups)
        rows[op.target] = rows[op.target] + y if op.accumulate else y

    def _experts(self, op: Experts, rows: dict[str, Rows], fraction: dict[str, int]) -> Rows:
        bias, scales = choice_bias(self.program, op), expert_scales(self.program, op)
        groups = Groups(op.groups, op.groups_used)
        choice = choose(rows[op.scores], op.used, op.weights, weight_factor(op.factor), bias, groups, scales)
        source = quantize(rows[op.source], fraction[op.source], self._parts.scheme)
        total = np.zeros((len(rows[op.source]), self.program.buffers[op.target].width), np.int64)
        for number in np.unique(choice.experts).tolist():
            chosen, place = np.nonzero(choice.experts == number)
            y = self._expert(op.experts[number], op.kind, Quantized(*(part[chosen] for part in source)))
            total[chosen] += scaled(y, choice.weights[chosen, place])
        return total

    def _expert(self, expert: Expert, kind: Activation, a: Quantized) -> Rows:
        def product(a: Quantized, weight: str, bias: str | None, fraction: int) -> Rows:
            y = matmul(a, self._weight(weight), fraction)
            return y if bias is None else y + integer_bias(self.program, bias, fraction)

        gate = sat32(product(a, expert.gate, expert.gate_bias, 16))
        up = sat32(product(a, expert.up, expert.up_bias, 16))
        hidden = quantize(gated(gate, up, kind), 20, self._parts.scheme)
        return product(hidden, expert.down, expert.down_bias, 20)

    def _attend(self, op: Attend, rows: dict[str, Rows], chunks: Sequence[SequenceChunk]) -> Rows:
        keys, key_scales, values, value_scales = self._cache[op.layer]
        count, scale = len(rows[op.query]), score_scale(op.scale)
        cap = score_cap(op.cap) if op.cap else None
        sinks = [None] * op.heads if op.sinks is None else integer_sinks(self.program, op.sinks).tolist()
        codec = self._parts.codec
        own_keys = rows[op.key].reshape(count, op.kv_heads, op.width)
        own_values = rows[op.value].reshape(count, op.kv_heads, op.width)
        queries = rows[op.query].reshape(count, op.heads, op.width)
        if codec is None:
            new_keys, new_values = quantize_keys(own_keys), quantize_values(own_values)
        else:
            new_keys = narrow(quantize_keys(rotate_kept(own_keys)), codec.key_bits, KEY_UNIT)
            new_values = narrow(quantize_values(rotate_kept(own_values)), codec.value_bits, VALUE_UNIT)
            queries = rotate_query(queries)
        out = np.zeros((count, op.heads, op.width), np.int64)
        group, row = op.heads // op.kv_heads, 0
        for chunk in chunks:
            slots = self._slots(chunk.pages)
            part = slice(row, row + len(chunk.tokens))
            own = slots[chunk.position : chunk.position + len(chunk.tokens)]
            keys[own], key_scales[own] = new_keys.codes[part], new_keys.scale[part]
            values[own], value_scales[own] = new_values.codes[part], new_values.scale[part]
            for m in range(part.start, part.stop):
                last = m - row if op.causal else len(chunk.tokens) - 1
                visible = slots[_seen(chunk, last)[-op.window :]]  # a window of 0 takes all
                for h in range(op.heads):
                    kv = h // group
                    kept_keys, kept_values = keys[visible, kv], values[visible, kv]
                    if codec is not None:
                        kept_keys = widen(kept_keys, codec.key_bits, KEY_UNIT)
                        kept_values = widen(kept_values, codec.value_bits, VALUE_UNIT)
                    out[m, h] = attend(
                        quantize_query(queries[m, h], scale),
                        Heads(kept_keys, key_scales[visible, kv]),
                        Heads(kept_values, value_scales[visible, kv]),
                        cap,
                        sinks[h],
                    )
            row = part.stop
        return (out if codec is None else rotate_query(out)).reshape(count, -1)

    def _convolve(self, op: Convolve, source: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        before, gate, x = np.split(source, 3, axis=1)
        taps, seen = convolution_taps(self.program, op), self._seen_rows(op, convolution_rows(before, x), chunks)
        return np.array([convolve(rows, taps, own) for rows, own in zip(seen, gate, strict=True)])

    def _convolve_silu(self, op: ConvolveSilu, source: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        taps = convolution_taps(self.program, op)
        bias = np.zeros(op.width, np.int64) if op.bias is None else integer_bias(self.program, op.bias, 16)
        return np.array([convolved(rows, taps, bias) for rows in self._seen_rows(op, input_rows(source), chunks)])

    def _seen_rows(
        self, op: Convolution, new: ConvolutionRows, chunks: Sequence[SequenceChunk]
    ) -> Iterator[list[tuple[Rows, int]]]:
        """Store rows of a convolution; yield for each what it sees: its codes and exponent, then those before it."""
        codes, exponent = self._cache[self.program.layers + op.layer]
        row = 0
        for chunk in chunks:
            slots = self._slots(chunk.pages)
            part = slice(row, row + len(chunk.tokens))
            own = slots[chunk.position : chunk.position + len(chunk.tokens)]
            codes[own], exponent[own] = new.codes[part], new.exponent[part]
            for m in range(part.start, part.stop):
                seen = slots[_seen(chunk, m - row)[: -op.taps - 1 : -1]]
                yield [(codes[slot], int(exponent[slot])) for slot in seen]
            row = part.stop

    def _convolved(
        self, op: Scan | GatedDelta, source: Rows, taps: Rows, bias: Rows, chunks: Sequence[SequenceChunk]
    ) -> Rows:
        """Return what a recurrent layer makes of its rows, Q16: SiLU of the convolution."""
        codes, exponent = self._recurrent_rows(op)[:2]
        new, out, row = input_rows(source), np.zeros((len(source), op.shape.channels), np.int64), 0
        for chunk in chunks:
            slots, end = self._slots(chunk.pages), chunk.position + len(chunk.tokens)
            part, own = slice(row, row + len(chunk.tokens)), slots[chunk.position : end]
            codes[own], exponent[own] = new.codes[part], new.exponent[part]
            for p in range(chunk.position, end):
                seen = slots[max(0, p - op.taps + 1) : p + 1][::-1]
                out[row] = convolved([(codes[s], int(exponent[s])) for s in seen], taps, bias)
                row += 1
        return out

    def _recurrent_rows(self, op: Recurrent) -> list[Rows]:
        """Return the cached rows of a recurrent layer."""
        return self._cache[self.program.layers + len(self.program.convolutions()) + op.layer]

    def _delta(self, op: GatedDelta, source: Rows, steps: Rows, beta: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        weights, shape, row = cast(DeltaWeights, self._recurrent[op.layer]), op.shape, 0
        mixed = self._convolved(op, source, weights.taps, np.zeros(shape.channels, np.int64), chunks)
        *new, values = delta_rows(mixed, steps, weights.step_bias, shape)
        out, kept, (states,) = np.zeros(values.shape, np.int64), self._recurrent_rows(op)[2:], self._states[op.layer]
        for chunk in chunks:
            slots = self._slots(chunk.pages)
            for p in range(chunk.position, chunk.position + len(chunk.tokens)):
                for array, values_of in zip(kept, new, strict=False):
                    array[slots[p]] = values_of[row]
                first = p - p % BLOCK
                block = slots[first : p + 1]
                state = states[self._state(chunk.pages, first - 1)] if first else np.zeros(states.shape[1:], np.int64)
                rows = DeltaRows(*(array[block] for array in kept))
                rows.written[-1] = written_row(rows, values[row], beta[row], state, weights.rate, shape)
                kept[-1][slots[p]] = rows.written[-1]
                if p % BLOCK == BLOCK - 1:
                    new_state = end_delta_block(rows, state, weights.rate, shape)
                    states[self._state(chunk.pages, p)] = new_state
                    self.saturated += int((np.abs(new_state) == LIMIT).sum())
                out[row] = delta_row(rows, state, weights.rate, shape)
                row += 1
        return out

    def _scan(self, op: Scan, source: Rows, steps: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        weights, kept = cast(ScanWeights, self._recurrent[op.layer]), self._recurrent_rows(op)[2:]
        out, row = np.zeros((len(source), op.shape.inner), np.int64), 0
        mixed = self._convolved(op, source, weights.taps, weights.bias, chunks)
        for chunk in chunks:
            slots, end = self._slots(chunk.pages), chunk.position + len(chunk.tokens)
            part, own = slice(row, row + len(chunk.tokens)), slots[chunk.position : end]
            rows = scan_rows(mixed[part], steps[part], weights.step_bias, op.shape)
            for array, values in zip(kept, (*rows.x, *rows.b, *rows.c, rows.step), strict=True):
                array[own] = values
            for p in range(chunk.position, end):
                out[row] = self._scan_row(op, weights, chunk.pages, p)
                row += 1
        return out

    def _scan_row(self, op: Scan, weights: ScanWeights, pages: NDArray[np.int32], p: int) -> Rows:
        """Return the result of one position, whose rows the cache has; store the state where a block ends there."""
        first = p - p % BLOCK
        block = self._slots(pages)[first : p + 1]
        rows = cached_rows([array[block] for array in self._recurrent_rows(op)[2:]])
        states = self._states[op.layer]
        state = (
            RecurrentState(*(array[self._state(pages, first - 1)] for array in states))
            if first
            else zero_state(op.shape)
        )
        if p % BLOCK == BLOCK - 1:
            for array, value in zip(states, end_block(rows, state, weights, op.shape), strict=True):
                array[self._state(pages, p)] = value
        return scan_row(rows, state, weights, op.shape)

    def _selective(self, op: SelectiveScan, rows: Mapping[str, Rows], chunks: Sequence[SequenceChunk]) -> Rows:
        weights = cast(SelectiveWeights, self._recurrent[op.layer])
        new = selective_rows(*(rows[name] for name in (op.source, op.input, op.output, op.steps)))

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            block = selective_cached(parts)
            state = advance(block, i, RecurrentState(*before), weights)
            return state, selective_row(block, i, state, weights)

        start = selective_state(weights)
        return self._by_positions(op, (new.x, *new.b, *new.c, new.step), chunks, start, results)

    def _recurrence(self, op: GatedRecurrence, x: Rows, forget: Rows, chunks: Sequence[SequenceChunk]) -> Rows:
        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            state = advance_recurrence(recurrence_cached(parts), i, before[0])
            return (state,), recurrence_row(state)

        new = recurrence_rows(x, forget, cast(Rows, self._recurrent[op.layer]))
        return self._by_positions(op, new, chunks, (recurrence_state(op.channels),), results)

    def _trapezoidal(self, op: TrapezoidalScan, rows: Mapping[str, Rows], chunks: Sequence[SequenceChunk]) -> Rows:
        weights = cast(TrapezoidalWeights, self._recurrent[op.layer])

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            block = TrapezoidalRows(*parts)
            state = advance_trapezoidal(block, i, TrapezoidalState(*before), weights, op.shape)
            return state, trapezoidal_row(block, i, state, weights, op.shape)

        new = [rows[name] for name in (op.source, op.input, op.output, op.controls)]
        return self._by_positions(op, new, chunks, trapezoidal_state(op.shape), results)

    def _by_positions(
        self,
        op: Recurrent,
        new: Sequence[Rows],
        chunks: Sequence[SequenceChunk],
        start: Sequence[Rows],
        results: Callable[[Sequence[Rows], int, Sequence[Rows]], tuple[Sequence[Rows], Rows]],
    ) -> Rows:
        """Return the results of a layer whose state is rounded at each position, and keep its rows and states.

        Parameters
        ----------
        new : sequence of arrays
            The parts of the new rows, as the cache keeps them.
        start : sequence of arrays
            The state before a text.
        results : function
            Of the parts of a block's rows, behind the row before them, a row's place there and the state before it: the
            state behind it, and its result.
        """
        kept, states, out = self._recurrent_rows(op), self._states[op.layer], list[Rows]()
        for chunk in chunks:
            slots, end = self._slots(chunk.pages), chunk.position + len(chunk.tokens)
            part, own = slice(len(out), len(out) + len(chunk.tokens)), slots[chunk.position : end]
            for array, values in zip(kept, new, strict=True):
                array[own] = values[part]
            first = chunk.position - chunk.position % BLOCK  # states are computed again from the block's start
            before, state = max(first - 1, 0), start
            if first:
                state = [array[self._state(chunk.pages, first - 1)] for array in states]
            block = [array[slots[before:end]] for array in kept]
            for p in range(first, end):
                state, result = results(block, p - before, state)
                if p >= chunk.position:
                    out.append(result)
                    if p % BLOCK == BLOCK - 1:
                        for array, value in zip(states, state, strict=True):
                            array[self._state(chunk.pages, p)] = value
        return np.array(out)

    def _state(self, pages: NDArray[np.int32], p: int) -> int:
        """Return the index of the state behind the block that ends at a position."""
        return int(pages[p // self.page_size]) * state_slots(self.page_size) + p % self.page_size // BLOCK

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's input for some rows of the last step's logits."""
        if self._head is None:
            raise ParameterError("no step has given logits yet")
        return to_bytes(Quantized(*(part[rows] for part in self._head)))

    def draw(
        self, logits: NDArray[np.int32], draws: Sequence[sampling.Draw]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them and their log-probabilities (Q24), -1 and 0 where no token is left."""
        tokens = np.array([sampling.draw(logits[d.row], *d[1:]) for d in draws], np.int64)
        pairs = zip(draws, tokens.tolist(), strict=True)
        logprobs = [sampling.log_probability(logits[d.row], t) if t >= 0 else 0 for d, t in pairs]
        return tokens, np.array(logprobs, np.int64)

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k likeliest tokens of some rows, ties by least id: tokens (m, k), log-probabilities (m, k)."""
        if not 1 <= k <= logits.shape[1]:
            raise ParameterError(f"k must lie in 1 to {logits.shape[1]}, got {k}")
        tokens = np.array([sampling.top(logits[row], k) for row in rows], np.int32).reshape(-1, k)
        logprobs = [
            [sampling.log_probability(logits[row], t) for t in ranked.tolist()]
            for row, ranked in zip(rows, tokens, strict=True)
        ]
        return tokens, np.array(logprobs, np.int64).reshape(-1, k)

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return the tokens of `top` alone."""
        return self.top(logits, rows, k)[0]

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""
        return np.array(
            [sampling.log_probability(row, int(t)) for row, t in zip(logits, tokens, strict=True)], np.int64
        )


def _ancestors(chunk: SequenceChunk, row: int) -> list[int]:
    """Return a row's ancestors in its chunk, itself included, in order."""
    if chunk.parents is None:
        return list(range(row + 1))
    line = [row]
    while (parent := int(chunk.parents[line[0]])) >= 0:
        line.insert(0, parent)
    return line


def _second_texts(tokens: NDArray[np.int32], separator: int | None) -> NDArray[np.bool_]:
    """Return for each row of a text whether a separator stands before it."""
    found = tokens == (-1 if separator is None else separator)
    before: NDArray[np.bool_] = np.cumsum(found) > found
    return before


def _adapters(chunks: Sequence[SequenceChunk]) -> Rows:
    """Return the adapter of each row."""
    return np.repeat([chunk.adapter for chunk in chunks], [len(chunk.tokens) for chunk in chunks])


def _positions(chunk: SequenceChunk) -> Rows:
    """Return the position of each row, for which its ancestors alone count as before it."""
    return np.array([chunk.position + len(_ancestors(chunk, i)) - 1 for i in range(len(chunk.tokens))], np.int64)


def _seen(chunk: SequenceChunk, row: int) -> Rows:
    """Return the slots of the text before the chunk and of the row's ancestors and itself, in order of position."""
    return np.concatenate([np.arange(chunk.position), chunk.position + np.array(_ancestors(chunk, row), np.int64)])


def _recurrent_weights(
    program: Program, op: Recurrent
) -> ScanWeights | DeltaWeights | SelectiveWeights | Rows | TrapezoidalWeights:
    """Return the parameters of a recurrent layer as integers."""
    match op:
        case Scan():
            return scan_weights(program, op)
        case GatedDelta():
            return delta_weights(program, op)
        case SelectiveScan():
            return selective_weights(program, op)
        case GatedRecurrence():
            return integer_room(program, op)
        case TrapezoidalScan():
            return trapezoidal_weights(program, op)


def _embed(w: BlockWeight, tokens: NDArray[np.integer], multiplier: int) -> Rows:
    """Return rows of the embedding in Q20: codes times scale times factor (Q24), rounded once; minima likewise."""
    table = np.arange(1 << w.bits) if w.table is None else w.table
    codes = np.asarray(table, np.int64)[w.codes[tokens]] - w.zero
    scale = np.repeat(w.scale[tokens].astype(np.int64), w.block, axis=1)
    x = rshift(codes * scale * multiplier, 4 - w.scale_exp[tokens, None].astype(np.int64))
    if w.minimum is not None and w.minimum_exp is not None:
        minimum = np.repeat(w.minimum[tokens].astype(np.int64), w.block, axis=1)
        x = x + rshift(minimum * multiplier, 4 - w.minimum_exp[tokens, None].astype(np.int64))
    return x[:, : w.columns]
