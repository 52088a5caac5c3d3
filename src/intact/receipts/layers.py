"""The residual stream between layers: the rows to which a receipt commits, and partial runs that compute them.

Boundary 0 is the output of the embedding, and boundary l + 1 the output of layer l. The rows of a boundary are the
leaves of a Merkle tree (RFC 6962), and the roots of all boundaries are the leaves of another, whose root a receipt may
contain (docs/spec/receipts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError
from intact.executors.base import Executor
from intact.executors.settings import make_alike
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import segments, some_layers
from intact.models.ops import AllGather
from intact.models.program import Program
from intact.receipts.canonical import HashName, digest
from intact.receipts.commitment import LayerCommitment
from intact.receipts.identity import root_of

if TYPE_CHECKING:
    from intact.engine.model import LoadedModel
    from intact.receipts.document import Receipt

CHUNK: Final = 64
"""Number of rows in a step. The logits of all rows are computed, so no row ends early."""
_LEAF: Final = b"\0"
_NO_ROWS: Final[Mapping[int, NDArray[Any]]] = {}


def row_leaf(hash: HashName, boundary: int, position: int, row: NDArray[Any]) -> bytes:  # noqa: A002
    """Return the digest of a zero byte, boundary and position in 4 bytes each, and the row's numbers.

    The numbers are int64 with 20 fraction bits, or float32 in the fp32 profile, all little-endian.
    """
    place = boundary.to_bytes(4, "little") + position.to_bytes(4, "little")
    return digest(hash, _LEAF, place, as_stored(row).tobytes())


def as_stored(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows in the form in which they are hashed and written."""
    return np.ascontiguousarray(rows, "<f4" if rows.dtype == np.float32 else "<i8")


def rows_root(hash: HashName, boundary: int, rows: NDArray[Any]) -> bytes:  # noqa: A002
    """Return the root over the rows of a boundary, one for each position."""
    return root_of(hash, [row_leaf(hash, boundary, position, row) for position, row in enumerate(rows)])


def layer_count(model: LoadedModel) -> int:
    """Return the number of a model's layers.

    Raises
    ------
    ParameterError
        If the model cannot be split between layers, or runs in several processes.
    """
    return len(segments(_program(model)).layers)


def _program(model: LoadedModel) -> Program:
    program: Program | None = getattr(model.executor, "program", None)
    if program is None:
        raise ParameterError("running single layers needs a model in a single process: load it without parallelism")
    return program


class LayerRun:
    """A run of selected layers of a model that records outputs; each takes the previous layer's rows or given rows.

    Parameters
    ----------
    chosen : sequence of int
        Layer numbers, ascending.
    given : mapping of int to array
        Rows, (positions, width), for each boundary before a chosen layer, and for the last boundary, that is not
        computed by the preceding chosen layer.
    kept : collection of int
        Computed boundaries whose rows are kept.

    Attributes
    ----------
    executor : Executor
        The executor for steps of one sequence.
    """

    def __init__(
        self,
        model: LoadedModel,
        chosen: Sequence[int],
        hash: HashName,  # noqa: A002
        given: Mapping[int, NDArray[Any]] = _NO_ROWS,
        kept: Collection[int] = (),
    ) -> None:
        program = some_layers(_program(model), chosen)
        self._hash, self._given = hash, given
        self._reads = [0, *(layer + 1 for layer in chosen)]
        self._takes = [*chosen, layer_count(model)]
        self._leaves: dict[int, dict[int, bytes]] = {boundary: {} for boundary in self._reads}
        self._rows: dict[int, dict[int, NDArray[Any]]] = {boundary: {} for boundary in kept}
        self._positions: list[int] = []
        self._passed = 0
        inner = make_alike(model.executor, program, self._exchange)
        self.executor = cast("Executor", _WholeSteps(inner, self._begin))

    def _begin(self, chunks: Sequence[SequenceChunk]) -> None:
        self._positions = [chunk.position + i for chunk in chunks for i in range(len(chunk.tokens))]
        self._passed = 0

    def _exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Record the rows of a boundary, and replace them with the input of the next chosen layer."""
        boundary, taken = self._reads[self._passed], self._takes[self._passed]
        self._passed += 1
        leaves, kept = self._leaves[boundary], self._rows.get(boundary)
        for position, row in zip(self._positions, whole, strict=True):
            leaves[position] = row_leaf(self._hash, boundary, position, row)
            if kept is not None:
                kept[position] = row.copy()
        if taken != boundary:
            rows = self._given[taken]
            for i, position in enumerate(self._positions):
                if position < len(rows):  # the answer's last token may be part of the step
                    whole[i] = rows[position]

    def close(self) -> None:
        """Free the executor's weights, pages and threads."""
        self.executor.close()

    def run(self, tokens: NDArray[np.int32], adapter: int = -1) -> None:
        """Run the tokens of a sequence.

        Raises
        ------
        CapacityError
            If there is not enough memory for the KV cache.
        """
        pages = np.arange(-(-len(tokens) // self.executor.page_size), dtype=np.int32)
        try:
            self.executor.reserve_pages(len(pages))
        except MemoryError:
            raise CapacityError(f"not enough memory for the KV cache of {len(tokens)} tokens") from None
        for start in range(0, len(tokens), CHUNK):
            part = tokens[start : start + CHUNK]
            self.executor.step([SequenceChunk(start, part, pages, adapter=adapter)], np.zeros(0, np.int64))

    def root(self, boundary: int, count: int) -> bytes | None:
        """Return the root over the first rows of a boundary; None if some of them were not computed."""
        leaves = self._leaves[boundary]
        if not all(position in leaves for position in range(count)):
            return None
        return root_of(self._hash, [leaves[position] for position in range(count)])

    def rows(self, boundary: int, count: int) -> NDArray[Any]:
        """Return the first rows of a kept boundary, (count, width)."""
        return np.stack([self._rows[boundary][position] for position in range(count)])


class _WholeSteps:
    """An executor whose steps run all rows to the end, and report their rows beforehand."""

    trees = False

    def __init__(self, inner: Executor, begin: Callable[[Sequence[SequenceChunk]], None]) -> None:
        self._inner, self._begin = inner, begin
        self._wanted = np.zeros(0, np.int64)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step; return the logits of the wanted rows."""
        self._begin(chunks)
        self._wanted = wanted
        return self._inner.step(chunks, np.arange(sum(len(chunk.tokens) for chunk in chunks)))[wanted]

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's input for some of the wanted rows."""
        return self._inner.head_inputs(self._wanted[rows])


def positions_of(receipt: Receipt) -> int:
    """Return the number of positions from which a receipt's tokens were computed: all except the last token's."""
    return len(receipt.header.request.prompt) + receipt.count - 1


def trace(model: LoadedModel, receipt: Receipt, adapter: str | None, kept: Collection[int] = ()) -> LayerTrace:
    """Run all layers over a receipt's tokens.

    Parameters
    ----------
    adapter : str, optional
        The adapter, as for `LoadedModel.variant`.
    kept : collection of int
        Boundaries whose rows are returned.

    Raises
    ------
    ParameterError
        If the model's layers cannot be run separately, or the answer is sampled from a mix, which uses several streams.
    CapacityError
        If there is not enough memory for the KV cache.
    """
    if receipt.header.request.decoding is not None:
        raise ParameterError("the answer is drawn from a mix, whose receipts cannot commit to layers")
    count, positions = layer_count(model), positions_of(receipt)
    tokens = np.array([*receipt.header.request.prompt, *receipt.output.tokens[:-1]], np.int32)
    with closing(LayerRun(model, range(count), receipt.header.hash, kept=kept)) as run:
        run.run(tokens, model.adapter_number(adapter))
        roots = [run.root(boundary, positions) for boundary in range(count + 1)]
        rows = {boundary: run.rows(boundary, positions) for boundary in kept}
    return LayerTrace(tuple(root for root in roots if root is not None), rows, receipt.header.hash)


class LayerTrace(NamedTuple):
    """The roots of all boundaries, and the rows of some of them, (positions, width)."""

    roots: tuple[bytes, ...]
    rows: Mapping[int, NDArray[Any]]
    hash: HashName

    @property
    def commitment(self) -> LayerCommitment:
        """The commitment to all boundaries."""
        return LayerCommitment(len(self.roots) - 1, root_of(self.hash, self.roots))
