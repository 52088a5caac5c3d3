"""Attention over the cached keys and values of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Cached
from intact.models.aspects.parameters import bias_values
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.attention import (
    Heads,
    attend,
    quantize_keys,
    quantize_query,
    quantize_values,
    score_scale,
    sink_scores,
)
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


def integer_sinks(tables: Tables, name: str) -> NDArray[np.int64]:
    """Return the scores of attention sinks, in base 2 and Q16."""
    return sink_scores(bias_values(tables, name))
