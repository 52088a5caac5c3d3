"""A multifurcation head: the rewards of all possible next tokens at once, from the model's preceding hidden state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.hidden import HiddenState
from intact.reason.problem import Hidden
from intact.tasks.score.value.learnt import BITS, WIDEST, LearntHead, integer_weights

UNSEEN = -1024.0
"""The reward of a token that the head was not trained on (the authors' value)."""
MOST_ROWS = 16
MOST_TOKENS = 8192


@dataclass(frozen=True)
class NextHead(LearntHead):
    """Rewards of next tokens, linear in a model's final hidden state h: `r_t = sum_j q_tj (p_j . h) + b_t`.

    Attributes
    ----------
    model, learnt
        As in every `LearntHead`.
    rows : tuple of tuple of int
        The directions p_j, times 2^fraction; integers of at most 2^20 in magnitude.
    fraction : int
    tokens : mapping of str to tuple of int
        Maps each token's text to the factors q_tj, times 2^token_fraction, and the bias b_t, times 2^32. The end of a
        completion is the empty string.
    token_fraction : int
    """

    kind: ClassVar[str] = "intact next-token head"
    model: str
    rows: tuple[tuple[int, ...], ...]
    fraction: int
    tokens: Mapping[str, tuple[int, ...]]
    token_fraction: int
    learnt: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: str,
        rows: NDArray[np.float64],
        tokens: Mapping[str, Sequence[float]],
        learnt: Mapping[str, Any],
    ) -> NextHead:
        """Round a head to integers.

        Parameters
        ----------
        rows : float64 (directions, width)
        tokens : mapping of str to sequence of float
            Maps each token's text to its factors and its bias.

        Raises
        ------
        ParameterError
            If a number is not finite, a token does not have one factor per row and a bias, or there are too many.
        """
        table = np.array(list(tokens.values()), np.float64)
        if rows.ndim != 2 or not 1 <= len(rows) <= MOST_ROWS or not 1 <= rows.shape[1] <= WIDEST:
            raise ParameterError(
                f"a next-token head must have 1 to {MOST_ROWS} rows of 1 to {WIDEST}, got {rows.shape}"
            )
        if table.ndim != 2 or table.shape[1] != len(rows) + 1 or not 1 <= len(table) <= MOST_TOKENS:
            raise ParameterError(
                f"a next-token head must have 1 to {MOST_TOKENS} tokens, each with {len(rows)} factors and a bias, "
                f"got {table.shape}"
            )
        if not (np.all(np.isfinite(rows)) and np.all(np.isfinite(table)) and np.all(np.abs(table[:, -1]) < 1 << 20)):
            raise ParameterError("a next-token head needs finite numbers, and biases below 2^20")
        directions, fraction = integer_weights(rows)
        factors, token_fraction = integer_weights(table[:, :-1])
        biases = np.rint(np.ldexp(table[:, -1], 32)).astype(np.int64)
        lines = [(*one, bias) for one, bias in zip(factors.tolist(), biases.tolist(), strict=True)]
        return cls(
            model, tuple(map(tuple, directions.tolist())), fraction, dict(zip(tokens, lines, strict=True)),
            token_fraction=token_fraction, learnt=learnt,
        )  # fmt: skip

    def rewards(self, state: HiddenState, words: Sequence[str]) -> list[float]:
        """Return the rewards of next tokens, given as strings: exact sums, rounded once.

        Unknown tokens get `UNSEEN`.

        Raises
        ------
        ParameterError
            If the state has a different width.
        """
        self.check_width(state, len(self.rows[0]))
        products = [int(state.values @ np.array(row, np.int64)) for row in self.rows]
        unit = Fraction(2) ** (state.exponent - self.fraction - self.token_fraction)
        found = []
        for word in words:
            if (line := self.tokens.get(word)) is None:
                found.append(UNSEEN)
                continue
            *factors, bias = line
            exact = sum([a * b for a, b in zip(factors, products, strict=True)]) * unit + Fraction(bias, 1 << 32)
            found.append(float(exact))
        return found

    def judge(self, hidden: Hidden, words: Sequence[str]) -> list[float]:
        """Return `rewards` for a hidden state from a back end; raise as `state_of` does."""
        return self.rewards(self.state_of(hidden), words)

    def numbers(self) -> dict[str, Any]:
        """Return its integers, by their names in the file."""
        found = {"fraction": self.fraction, "token_fraction": self.token_fraction}
        return found | {"rows": self.rows, "tokens": self.tokens}

    @classmethod
    def from_members(cls, value: Mapping[str, Any]) -> NextHead:
        """Read it from the members of a file; raise ValueError, KeyError or TypeError if they are invalid."""
        rows, tokens = value["rows"], value["tokens"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS or not all(isinstance(r, list) for r in rows):
            raise ValueError(f"rows must be a list of 1 to {MOST_ROWS} lists")
        if not 1 <= len(rows[0]) <= WIDEST or len({len(row) for row in rows}) > 1:
            raise ValueError(f"all rows must have the same length, from 1 to {WIDEST}")
        if not isinstance(tokens, dict) or not 1 <= len(tokens) <= MOST_TOKENS:
            raise ValueError(f"tokens must be an object of 1 to {MOST_TOKENS} members")
        if not all(isinstance(line, list) and len(line) == len(rows) + 1 for line in tokens.values()):
            raise ValueError(f"each token must have {len(rows)} factors and a bias")
        weights = [*rows, *[line[:-1] for line in tokens.values()]]
        biases = [line[-1] for line in tokens.values()]
        limits = [*[(row, 1 << BITS) for row in weights], (biases, 1 << 52)]
        for numbers, largest in [*limits, ([value["fraction"], value["token_fraction"]], 1 << 10)]:
            if any(type(number) is not int or abs(number) > largest for number in numbers):
                raise ValueError(f"rows, factors, fractions and biases must be integers, rows to 2^{BITS} in magnitude")
        return cls(
            value["model"],
            tuple(map(tuple, rows)),
            value["fraction"],
            {word: tuple(line) for word, line in tokens.items()},
            token_fraction=value["token_fraction"],
            learnt=value["learnt"],
        )

    @property
    def digest(self) -> str:
        """SHA-256 of everything that its rewards depend on."""
        value = [self.model, self.rows, self.fraction, sorted(self.tokens.items()), self.token_fraction]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()
