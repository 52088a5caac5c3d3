"""Rows of training data after templating: tokens, the weights of their losses, pairs and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.receipts import canonical
from intact.receipts.canonical import HashName, digest
from intact.receipts.identity import root_of

LARGEST_WEIGHT: Final = 1 << 16
"""Largest weight of a token's loss."""
_LEAF: Final = b"\0"


@dataclass(frozen=True, eq=False)
class TrainExample:
    """A sequence with a weight for the loss of predicting each token.

    Attributes
    ----------
    tokens : int32 (n,), n at least 2
    weights : int32 (n,)
        From 0 to 65,536; the first is 0, since nothing precedes it, and at least one is not 0.

    Raises
    ------
    ParameterError
        If the arrays are malformed.
    """

    tokens: NDArray[np.int32]
    weights: NDArray[np.int32]

    def __post_init__(self) -> None:
        tokens, weights = np.asarray(self.tokens), np.asarray(self.weights)
        if tokens.ndim != 1 or len(tokens) < 2 or weights.shape != tokens.shape:
            raise ParameterError(
                f"an example needs at least 2 tokens and as many weights, got {tokens.shape} and {weights.shape}"
            )
        if tokens.dtype.kind not in "iu" or weights.dtype.kind not in "iu" or tokens.min() < 0:
            raise ParameterError("an example's tokens and weights must be integers, tokens not negative")
        if weights[0] or weights.min() < 0 or weights.max() > LARGEST_WEIGHT or not weights.any():
            raise ParameterError(
                f"an example's weights must lie in 0 to {LARGEST_WEIGHT}, the first 0 and at least one not 0"
            )
        object.__setattr__(self, "tokens", tokens.astype(np.int32))
        object.__setattr__(self, "weights", weights.astype(np.int32))

    @property
    def inputs(self) -> NDArray[np.int32]:
        """Tokens that the model reads."""
        return self.tokens[:-1]

    @property
    def wanted(self) -> NDArray[np.int64]:
        """Positions of the inputs at which a loss is computed."""
        return np.flatnonzero(self.weights[1:])

    @property
    def targets(self) -> NDArray[np.int64]:
        """Tokens to predict at the wanted positions."""
        return self.tokens[1:][self.wanted].astype(np.int64)

    @property
    def target_weights(self) -> NDArray[np.int64]:
        """Weights at the wanted positions."""
        return self.weights[1:][self.wanted].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Pair:
    """Preference data: two answers to a prompt; the weights mark the answers."""

    chosen: TrainExample
    rejected: TrainExample


@dataclass(frozen=True, eq=False)
class Labelled:
    """A sequence and its class, for a head that reads the last token's row.

    Attributes
    ----------
    tokens : int32 (n,), n at least 1
    label : int
        Number of the class, from 0.
    """

    tokens: NDArray[np.int32]
    label: int

    def __post_init__(self) -> None:
        tokens = np.asarray(self.tokens)
        if tokens.ndim != 1 or not len(tokens) or tokens.dtype.kind not in "iu" or tokens.min() < 0:
            raise ParameterError("a labelled sequence needs at least one token, and tokens must be natural numbers")
        if not 0 <= self.label < 1 << 16:
            raise ParameterError(f"a label must lie in 0 to 65,535, got {self.label}")
        object.__setattr__(self, "tokens", tokens.astype(np.int32))

    @property
    def inputs(self) -> NDArray[np.int32]:
        """Tokens that the model reads."""
        return self.tokens

    @property
    def wanted(self) -> NDArray[np.int64]:
        """The last position."""
        return np.array([len(self.tokens) - 1], np.int64)

    @property
    def targets(self) -> NDArray[np.int64]:
        """The label."""
        return np.array([self.label], np.int64)

    @property
    def target_weights(self) -> NDArray[np.int64]:
        """One."""
        return np.ones(1, np.int64)


Sequenced: TypeAlias = TrainExample | Labelled
"""One sequence with targets at some positions."""
Row: TypeAlias = TrainExample | Pair | Labelled
"""A row of training data."""


class DataSource(NamedTuple):
    """A data file: its name without folders, SHA-256 (hexadecimal), number of rows, and row format."""

    name: str
    sha256: str
    rows: int
    format: str


def sequences_of(row: Row) -> tuple[Sequenced, ...]:
    """Return the sequences of a row: one, or the chosen and the rejected one."""
    return (row.chosen, row.rejected) if isinstance(row, Pair) else (row,)


def row_to_json(row: Row) -> dict[str, Any]:
    """Return a row as a JSON value."""
    if isinstance(row, Pair):
        return {"chosen": row_to_json(row.chosen), "rejected": row_to_json(row.rejected)}
    if isinstance(row, Labelled):
        return {"tokens": row.tokens.tolist(), "label": row.label}
    return {"tokens": row.tokens.tolist(), "weights": row.weights.tolist()}


def row_from_json(value: Any) -> Row:
    """Return the row of a JSON value.

    Raises
    ------
    ParameterError
        If the value is not a row.
    """
    if isinstance(value, dict) and value.keys() == {"chosen", "rejected"}:
        chosen, rejected = (row_from_json(value[name]) for name in ("chosen", "rejected"))
        if isinstance(chosen, TrainExample) and isinstance(rejected, TrainExample):
            return Pair(chosen, rejected)
    if isinstance(value, dict) and value.keys() == {"tokens", "label"} and type(value["label"]) is int:
        return Labelled(_integers(value["tokens"]), value["label"])
    if isinstance(value, dict) and value.keys() == {"tokens", "weights"}:
        return TrainExample(_integers(value["tokens"]), _integers(value["weights"]))
    raise ParameterError(f"a row has tokens and weights, tokens and a label, or chosen and rejected; got {value!r:.60}")


def _integers(value: Any) -> NDArray[np.int32]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 1 << 31 for item in value):
        raise ParameterError(f"expected a list of natural numbers below 2^31, got {value!r:.60}")
    return np.array(value, np.int32)


def row_digest(hash: HashName, index: int, row: Row) -> bytes:  # noqa: A002
    """Return a row's leaf: the digest of a zero byte, its number in 4 bytes, and its canonical JSON."""
    return digest(hash, _LEAF, index.to_bytes(4, "little"), canonical.encode(row_to_json(row)))


def data_root(hash: HashName, rows: Sequence[Row]) -> bytes:  # noqa: A002
    """Return the root over all rows."""
    return root_of(hash, [row_digest(hash, index, row) for index, row in enumerate(rows)])
