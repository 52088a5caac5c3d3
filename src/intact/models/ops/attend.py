"""Attention over the cached keys and values of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Cached
from intact.models.aspects.parameters import bias_values
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics import fp32
from intact.numerics.attention import (
    Heads,
    attend,
    quantize_keys,
    quantize_query,
    quantize_values,
    score_scale,
    sink_scores,
)
from intact.numerics.fp32 import Floats
from intact.numerics.kv_codecs.definition import (
    GRANULE,
    KEY_UNIT,
    VALUE_UNIT,
    narrow,
    rotate_kept,
    rotate_query,
    widen,
)
from intact.numerics.profiles import ProfileParts
from intact.numerics.soft_cap import score_cap


@dataclass(frozen=True)
class Attend(Cached):
    """Attention; first appends key and value to the cache.

    If `causal`, rows attend to their sequence up to their own position; otherwise to all of it, and a sequence must be
    a single chunk. `window` limits the visible positions (0: all); scores pass through a soft `cap` (0: none). `sinks`
    names a tensor with a score per head that enters the softmax but has no value.
    """

    query: str
    key: str
    value: str
    target: str
    layer: int
    heads: int
    kv_heads: int
    width: int
    scale: Fraction
    window: int = 0
    cap: Fraction = Fraction(0)
    sinks: str | None = None
    causal: bool = True

    noun = "attention"
    native = "attend"
    order: ClassVar[int] = 0

    def reads(self) -> set[str]:
        """Return query, key and value."""
        return {self.query, self.key, self.value}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check_profile(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if the profile's KV codec does not support this head width."""
        if profile.codec is not None and not profile.codec.holds(tables.head_width):
            raise ParameterError(
                f"the KV codec {profile.codec.name} holds heads whose width is a multiple of {GRANULE}; this model's "
                f"are {tables.head_width} wide: load it without kv"
            )

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of keys, key scales, values and value scales."""
        return [(tables.kv_heads, tables.head_width), (tables.kv_heads,)] * 2

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count 16-bit keys, 8-bit values and two scales, with heads padded to a multiple of 16."""
        return tables.kv_heads * (3 * (-(-tables.head_width // 16) * 16) + 8)

    def step(self, s: ReferenceStep) -> None:
        """Append keys and values, and attend to each row's visible positions."""
        keys, key_scales, values, value_scales = s.memory.cached(self)
        count, scale = len(s.rows[self.query]), score_scale(self.scale)
        cap = score_cap(self.cap) if self.cap else None
        sinks = [None] * self.heads if self.sinks is None else integer_sinks(s.tables, self.sinks).tolist()
        codec = s.profile.codec
        own_keys = s.rows[self.key].reshape(count, self.kv_heads, self.width)
        own_values = s.rows[self.value].reshape(count, self.kv_heads, self.width)
        queries = s.rows[self.query].reshape(count, self.heads, self.width)
        if codec is None:
            new_keys, new_values = quantize_keys(own_keys), quantize_values(own_values)
        else:
            new_keys = narrow(quantize_keys(rotate_kept(own_keys)), codec.key_bits, KEY_UNIT)
            new_values = narrow(quantize_values(rotate_kept(own_values)), codec.value_bits, VALUE_UNIT)
            queries = rotate_query(queries)
        out = np.zeros((count, self.heads, self.width), np.int64)
        group = self.heads // self.kv_heads
        for chunk, rows, slots, own in s.by_chunk():
            keys[own], key_scales[own] = new_keys.codes[rows], new_keys.scale[rows]
            values[own], value_scales[own] = new_values.codes[rows], new_values.scale[rows]
            for m in range(rows.start, rows.stop):
                last = m - rows.start if self.causal else len(chunk.tokens) - 1
                visible = slots[chunk.seen(last)[-self.window :]]  # a window of 0 keeps all
                for h in range(self.heads):
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
        s.set(self.target, (out if codec is None else rotate_query(out)).reshape(count, -1), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return buffers, the shape of heads, and the parameters of scores."""
        fields: dict[str, Any] = {
            "source": low.buffer(self.query),
            "second": low.buffer(self.key),
            "third": low.buffer(self.value),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "width": self.width,
            "window": self.window,
            "causal": self.causal,
            "scale": tuple(score_scale(self.scale)),
            "float_scale": float(self.scale),
        }
        if self.cap:
            fields |= {"cap": tuple(score_cap(self.cap)), "float_cap": float(self.cap)}
        if self.sinks is not None:
            fields["bias"] = low.numbers(integer_sinks(low.tables, self.sinks), bias_values(low.tables, self.sinks))
        return fields

    def shade(self, g: Shading) -> None:
        """Keep keys and values, then attend: a workgroup for each head of a row."""
        heads = {"width": self.width, "padded": g.padded_width, "page": g.page_size, "kv_heads": self.kv_heads}
        cache, scale = f"cache {self.layer}", score_scale(self.scale)
        slope, limit = score_cap(self.cap) if self.cap else (0, 0)
        kept = {"key": g.row(self.key).offset, "value": g.row(self.value).offset, **heads}
        numbers = {
            "query": g.row(self.query).offset,
            "place": g.row(self.target).offset,
            "heads": self.heads,
            **heads,
            "mantissa": scale.mantissa,
            "exponent": scale.exponent,
            "window": self.window,
            "slope": slope,
            "limit": limit,
            "sinks": 0 if self.sinks is None else g.vector(integer_sinks(g.tables, self.sinks).astype(np.int32)) + 1,
            "causal": int(self.causal),
        }
        g.dispatch("keep", {"keep": kept}, self.kv_heads, buffers=[cache])
        g.dispatch("attend", {"attend": numbers}, self.heads, buffers=[cache, "scores"])
        g.fraction[self.target] = 16

    def labels(self) -> dict[int, Label]:
        """Label the appending of rows, and the number of visible positions."""
        seen = f"the last {self.window}" if self.window else "all positions"
        return {ROWS: ("append", "keys, values"), PRODUCT: ("attention", seen)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the appended rows, or the keys and values read."""
        if part == ROWS:
            return WorkSize(0, counts.rows * (2 * sizes.row(self.key) + self.kv_heads * sizes.position))
        moved = counts.positions * self.kv_heads * sizes.position + counts.attending * 2 * sizes.row(self.query)
        return WorkSize(counts.pairs * self.heads * self.width * 2, moved)

    def cut(self, cutter: Cutter) -> None:
        """Compute attention for this rank's heads."""
        heads, kv_heads = cutter.heads.heads[cutter.rank], cutter.heads.kv_heads[cutter.rank]
        cutter.written(self.target, cutter.attended(self.target))
        sinks = None if self.sinks is None else cutter.tensor(self.sinks, heads)
        cutter.append(replace(self, heads=heads.width, kv_heads=kv_heads.width, sinks=sinks))

    def structure(self, at: int, found: Structure) -> None:
        """Add the attention and its value and target buffers."""
        found.add_attention(at, self.value, self.target, self.heads, self.kv_heads, self.width)

    def float_step(self, s: FloatPass) -> None:
        """Attend in float32, one head at a time; probabilities are normalised before they multiply the values."""
        query, key, value = (s.rows[name] for name in (self.query, self.key, self.value))
        known: list[Floats] = []
        out = np.empty_like(query)
        for h in range(self.heads):
            own, kv = self._columns(h), self._columns(h // (self.heads // self.kv_heads))
            p, bend = self._probabilities(s, h, query[:, own], key[:, kv])
            if len(p) <= MOST_KEPT:
                known += [p] if bend is None else [p, bend]
            out[:, own] = s.dot(p, np.ascontiguousarray(value[:, kv].T))
        s.keep(query, key, value, *known)
        s.rows[self.target] = out

    def derivative(self, s: FloatPass) -> None:
        """Pass gradients through softmax, dS = P (dP - dot(dP, P)), and through the soft cap of the scores."""
        query, key, value, *known = s.kept()
        g = s.take(self.target)
        parts = 2 if self.cap else 1
        dq, dk, dv = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
        for h in range(self.heads):
            own, kv = self._columns(h), self._columns(h // (self.heads // self.kv_heads))
            q, k, y = query[:, own], key[:, kv], np.ascontiguousarray(g[:, own])
            p, bend = self._probabilities(s, h, q, k) if not known else (known[parts * h], known[parts * (h + 1) - 1])
            dv[:, kv] += s.dot(np.ascontiguousarray(p.T), np.ascontiguousarray(y.T))
            dp = s.dot(y, np.ascontiguousarray(value[:, kv]))
            ds = p * (dp - fp32.dot(dp, p)[:, None])
            if self.cap and bend is not None:
                ds = ds * bend
            ds = ds * np.float32(self.scale)
            dq[:, own] = s.dot(ds, np.ascontiguousarray(k.T))
            dk[:, kv] += s.dot(np.ascontiguousarray(ds.T), np.ascontiguousarray(q.T))
        s.add(self.query, dq)
        s.add(self.key, dk)
        s.add(self.value, dv)

    def _columns(self, head: int) -> slice:
        return slice(head * self.width, (head + 1) * self.width)

    def _probabilities(self, s: FloatPass, h: int, q: Floats, k: Floats) -> tuple[Floats, Floats | None]:
        """Return a head's probabilities (positions, positions), and the derivative of the soft cap if there is one."""
        score = s.dot(np.ascontiguousarray(q), np.ascontiguousarray(k)) * np.float32(self.scale)
        bend = None
        if self.cap:
            capped = fp32.soft_cap(score, float(self.cap))
            ratio = capped / np.float32(self.cap)
            score, bend = capped, np.float32(1.0) - ratio * ratio
        at = np.arange(len(q))
        back = at[:, None] - at[None, :]
        seen = back < (self.window or len(q))
        seen = seen & (back >= 0) if self.causal else seen
        most = np.where(seen, score, np.float32(-np.inf)).max(axis=1)
        sink = None if self.sinks is None else s.vector(self.sinks)[h]
        most = most if sink is None else np.maximum(most, sink)
        e = np.where(seen, s.exp(np.where(seen, score - most[:, None], np.float32(0.0))), np.float32(0.0))
        total = fp32.lane_sum(e)
        total = total if sink is None else total + fp32.exp(sink - most)
        return (e / total[:, None]).astype(np.float32, copy=False), bend


MOST_KEPT: Final = 1024
"""Longest sequence whose probabilities are kept for the derivative; those of longer ones are computed again."""


def integer_sinks(tables: Tables, name: str) -> NDArray[np.int64]:
    """Return the scores of attention sinks, in base 2 and Q16."""
    return sink_scores(bias_values(tables, name))
