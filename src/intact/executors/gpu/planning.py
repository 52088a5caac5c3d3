"""Make the plan of a program: each operation appends its dispatches (`intact.models.aspects.shader`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.executors.gpu.fusing import fuse
from intact.executors.gpu.matrices import Joined, Packed, join, unpack_panels
from intact.executors.gpu.plan import Dispatch, DispatchPlan, HeadCodes
from intact.executors.packing import pack_tensor
from intact.models.aspects.parameters import integer_bias
from intact.models.aspects.shader import ProductTarget, RowOffset
from intact.models.ops import Attend
from intact.models.ops.embed import check_embedding
from intact.models.program import Program

Store = Callable[[str, NDArray[np.uint32]], None]
"""Takes the contents of a buffer of weights by name."""


def make_plan(program: Program, bits: int, page_size: int, limit: int, store: Store, threads: int = 1) -> DispatchPlan:
    """Return the plan of a program in the profile int8.

    Parameters
    ----------
    bits : {8, 4}
        Number of bits per code for matrices that the checkpoint stores as floats.
    limit : int
        Maximum size of a buffer of weights in bytes.
    store : callable
        Receives the buffers of weights, one after another, so that they need not all be in memory.

    Raises
    ------
    ParameterError
        If an operation has no shader; the message names it and says what can run it.
    ModelError
        If a tensor or number exceeds the proven bounds.
    """
    planner = _Planner(program, bits, page_size, limit, store, threads)
    for i, op in enumerate(program.ops):
        done = len(planner.dispatches)
        op.shade(planner)
        planner.dispatches[done:] = [replace(one, first_op=i, op=i) for one in planner.dispatches[done:]]
    heads = [op.heads for op in program.ops if isinstance(op, Attend)]
    buffers = {name: planner.row(name) for name in program.buffers}
    vectors = np.concatenate([*planner.vectors, np.zeros(1, np.uint32)])
    return DispatchPlan(
        tuple(fuse(planner.dispatches)),
        tuple(planner.move(layer) for layer in range(program.layers)),
        planner.row_words,
        buffers,
        vectors,
        program.layers,
        max(heads, default=0),
        planner.head_codes,
    )


class _Planner:
    """Collects dispatches, parts of rows, vectors and weights (`intact.models.aspects.shader.Shading`)."""

    def __init__(self, program: Program, bits: int, page_size: int, limit: int, store: Store, threads: int) -> None:
        self.tables, self.page_size = program, page_size
        self._bits, self._limit, self._store, self._threads = bits, limit, store, threads
        self.padded_width = -(-program.head_width // 16) * 16
        self.fraction = {name: buffer.fraction for name, buffer in program.buffers.items()}
        self.dispatches: list[Dispatch] = []
        self.vectors: list[NDArray[np.uint32]] = []
        self.head_codes: HeadCodes | None = None
        self.row_words = 0
        self._vector_words = 0
        self._rows: dict[str, RowOffset] = {}
        self._kept: dict[tuple[str, ...], list[Joined]] = {}

    def _allocate(self, key: str, width: int, wide: bool) -> RowOffset:
        if key not in self._rows:
            self._rows[key] = RowOffset(self.row_words, width, int(wide))
            self.row_words += width * (1 + wide)
        return self._rows[key]

    def row(self, buffer: str) -> RowOffset:
        spec = self.tables.buffers[buffer]
        return self._allocate(f"buffer {buffer}", spec.width, spec.wide)

    def inner(self, key: str, width: int) -> RowOffset:
        return self._allocate(f"inner {key}", width, wide=False)

    def vector(self, values: NDArray[Any]) -> int:
        at = self._vector_words
        self.vectors.append(np.ascontiguousarray(values).reshape(-1).view(np.uint32))
        self._vector_words += len(self.vectors[-1])
        return at

    def bias(self, name: str | None, fraction: int) -> int:
        return 0 if name is None else self.vector(integer_bias(self.tables, name, fraction)) + 1

    def rotation(self, index: int) -> tuple[int, int]:
        sizes = [len(turns) for turns in self.tables.rotations]
        return sizes[index], sum(sizes[:index])

    def dispatch(
        self, shader: str, numbers: Mapping[str, Any], across: int = 1, *, buffers: Sequence[str] = ()
    ) -> None:
        self.dispatches.append(Dispatch(shader, numbers, across, buffers=tuple(buffers)))

    def _weight(self, name: str) -> Packed:
        tensor = self.tables.tensors[name]
        try:
            return unpack_panels(pack_tensor(tensor, self._bits, self._threads))
        except (ModelError, ValueError) as error:
            shape = " x ".join(map(str, tensor.shape))
            raise ModelError(f"tensor {tensor.name} ({tensor.kind}, {shape}): {error}") from error

    def gather(self, source: str, target: str, index: NDArray[np.int32], *, keep: bool = False) -> None:
        place = self.row(target)
        numbers = {
            "source": self.row(source).offset,
            "place": place.offset,
            "is_wide": place.wide,
            "width": place.width,
            "index": self.vector(index.astype(np.int32)),
            "keep": int(keep),
        }
        self.dispatch("gather", {"gather": numbers})
        self.fraction[target] = self.fraction[source]

    def embed(self, weight: str, numbers: Mapping[str, Any]) -> None:
        packed = self._weight(weight)
        check_embedding(weight, int(packed.exponents.max()))
        table = 0 if packed.table is None else self.vector(packed.table)
        for i, part in enumerate(self._stored((weight,), [packed])):
            share = part.shares[0]
            fields = {
                "blocks": packed.blocks,
                "zero": packed.zero,
                "minima": part.minima,
                "exponents": part.exponents,
                "table": table,
                "first": share.first,
                "count": share.outputs,
            }
            self.dispatches.append(
                Dispatch(
                    "embed",
                    {"embed": {**numbers, **fields}},
                    constants=packed.constants,
                    buffers=buffer_names((weight,), i),
                )
            )

    def _stored(self, names: tuple[str, ...], weights: Sequence[Packed]) -> list[Joined]:
        """Join matrices and store their buffers, unless they already are; return them without contents."""
        if names not in self._kept:
            empty, kept = np.zeros(0, np.uint32), []
            for i, part in enumerate(join(weights, self._limit)):
                for name, words in zip(buffer_names(names, i), (part.codes, part.numbers), strict=True):
                    self._store(name, words)
                kept.append(part._replace(codes=empty, numbers=empty))
            self._kept[names] = kept
        return self._kept[names]

    def quantize(self, row: RowOffset, fraction: int, *, wanted: bool = False) -> int:
        blocks = -(-row.width // 32)
        codes = self._allocate(f"codes {blocks} {'wanted' if wanted else ''}", 14 * blocks + 4, wide=False).offset
        numbers = {
            "source": row.offset,
            "is_wide": row.wide,
            "width": row.width,
            "blocks": blocks,
            "fraction": fraction,
            "codes": codes,
        }
        shader = "quantize_wanted" if wanted else "quantize"
        self.dispatches.append(Dispatch(shader, {"quantize": numbers}, wanted=wanted))
        if wanted:
            self.head_codes = HeadCodes(codes, blocks)
        return codes

    def product(self, codes: int, targets: Sequence[ProductTarget], *, adapter: int = 0) -> None:
        packed = [self._weight(target.weight) for target in targets]
        kinds = list(range(len(packed)))
        for i in range(len(packed)):
            kinds[i] = next(j for j in range(i + 1) if packed[j].alike(packed[i]))
        for _, group in groupby(sorted(range(len(packed)), key=lambda i: kinds[i]), key=lambda i: kinds[i]):
            own = list(group)
            self._multiply(codes, [targets[i] for i in own], [packed[i] for i in own], adapter)

    def _multiply(self, codes: int, targets: Sequence[ProductTarget], weights: Sequence[Packed], adapter: int) -> None:
        for i, part in enumerate(self._stored(tuple(target.weight for target in targets), weights)):
            segments = [
                {
                    "panel": share.panel,
                    "count": share.outputs,
                    "first": share.first,
                    "place": targets[share.matrix].place.offset,
                    "is_wide": targets[share.matrix].place.wide,
                    "accumulate": int(targets[share.matrix].accumulate),
                    "bias": targets[share.matrix].bias,
                }
                for share in part.shares
            ]
            numbers = self._product_numbers(codes, weights[0], part, segments) | {"adapter": adapter}
            names = buffer_names(tuple(target.weight for target in targets), i)
            self.dispatches.append(
                Dispatch(
                    "product",
                    {"product": numbers},
                    part.panels,
                    tiled=True,
                    constants=weights[0].constants,
                    buffers=names,
                )
            )

    def _product_numbers(
        self, codes: int, weight: Packed, part: Joined, segments: Sequence[Mapping[str, int]]
    ) -> dict[str, Any]:
        return {
            "codes": codes,
            "blocks": weight.blocks,
            "zero": weight.zero,
            "round": weight.shift,
            "minima": part.minima,
            "exponents": part.exponents,
            "table": 0 if weight.table is None else self.vector(weight.table),
            "adapter": 0,
            "slope": 0,
            "limit": 0,
            "count": len(segments),
            "segments": segments,
        }

    def move(self, layer: int) -> Dispatch:
        """Return the dispatch that moves slots of a layer's cache."""
        numbers = {"kv_heads": self.tables.kv_heads, "padded": self.padded_width, "page": self.page_size}
        return Dispatch("move", {"move_slots": numbers}, self.tables.kv_heads, buffers=(f"cache {layer}",))

    def head(self, codes: int, weight: str | None, cap: tuple[int, int]) -> None:
        if weight is None:
            return
        packed = self._weight(weight)
        for i, part in enumerate(self._stored((weight,), [packed])):
            share = part.shares[0]
            segment = {
                "panel": 0,
                "count": share.outputs,
                "first": share.first,
                "place": packed.rows,
                "is_wide": 0,
                "accumulate": 0,
                "bias": 0,
            }
            numbers = self._product_numbers(codes, packed, part, [segment]) | {"slope": cap[0], "limit": cap[1]}
            names = (*buffer_names((weight,), i), "logits")
            self.dispatches.append(
                Dispatch("head", {"product": numbers}, part.panels, True, True, packed.constants, names)
            )


def buffer_names(weights: tuple[str, ...], part: int) -> tuple[str, str]:
    """Return the names of the two buffers of joined matrices."""
    title = f"{' + '.join(weights)}, {part}"
    return f"codes of {title}", f"numbers of {title}"
