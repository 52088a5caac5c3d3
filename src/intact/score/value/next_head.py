"""A multifurcation head: the rewards of all next tokens at once, read from a model's hidden state before them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact import strict_json
from intact.engine.hidden import HiddenState, read_hidden
from intact.errors import FormatError, ParameterError
from intact.files import write_whole
from intact.reason.problem import Hidden
from intact.reason.services import read_text
from intact.score.value.head import BITS, WIDEST, integer_weights, profile_of

KIND = "intact next-token head"
VERSION = 1
UNSEEN = -1024.0
"""The reward of a token that the head was not learnt on (the authors' value)."""
MOST_ROWS = 16
MOST_TOKENS = 8192


@dataclass(frozen=True)
class NextHead:
    """Rewards of next tokens, linear in a model's final hidden state h: `r_t = sum_j q_tj (p_j . h) + b_t`.

    Attributes
    ----------
    model : str
        The identity of the back end on whose hidden states it was learnt.
    rows : tuple of tuple of int
        The directions p_j, times 2^fraction; integers of at most 2^20 in magnitude.
    fraction : int
    tokens : mapping of str to tuple of int
        By the token's text the factors q_tj, times 2^token_fraction, and the bias b_t, times 2^32. The end of a text
        has the empty text.
    token_fraction : int
    learnt : mapping
        From what, and what came of it on problems that were held out.
    """

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
            By each token's text its factors, and its bias.

        Raises
        ------
        ParameterError
            If a number is not finite, a token has not one factor for each row and a bias, or there are too many.
        """
        table = np.array(list(tokens.values()), np.float64)
        if rows.ndim != 2 or not 1 <= len(rows) <= MOST_ROWS or not 1 <= rows.shape[1] <= WIDEST:
            raise ParameterError(f"a next-token head has 1 to {MOST_ROWS} rows of 1 to {WIDEST}, got {rows.shape}")
        if table.ndim != 2 or table.shape[1] != len(rows) + 1 or not 1 <= len(table) <= MOST_TOKENS:
            raise ParameterError(
                f"a next-token head has 1 to {MOST_TOKENS} tokens, each with {len(rows)} factors and a bias, "
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
            token_fraction, learnt,
        )  # fmt: skip

    def rewards(self, state: HiddenState, words: Sequence[str]) -> list[float]:
        """Return the rewards of next tokens by their texts: exact sums, rounded once; `UNSEEN` for unknown ones.

        Raises
        ------
        ParameterError
            If the state is of another width.
        """
        width = len(self.rows[0])
        if len(state.values) != width:
            raise ParameterError(f"the next-token head reads {width} components, a state has {len(state.values)}")
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
        """Return `rewards` of what a back end gave.

        Raises
        ------
        ParameterError
            If it is the hidden state of another model.
        """
        if hidden.model != self.model:
            raise ParameterError(f"the next-token head was learnt on {self.model!r}, the text is by {hidden.model!r}")
        return self.rewards(read_hidden(bytes.fromhex(hidden.data), profile_of(self.model)), words)

    def write(self, file: Path) -> None:
        """Keep it as JSON, all of it or nothing."""
        value = {"kind": KIND, "version": VERSION, "model": self.model, "fraction": self.fraction}
        value |= {"token_fraction": self.token_fraction, "learnt": self.learnt, "rows": self.rows}
        write_whole(file, json.dumps(value | {"tokens": self.tokens}) + "\n")

    @classmethod
    def read(cls, file: Path) -> NextHead:
        """Read what `write` wrote.

        Raises
        ------
        FormatError
            If it is no such file.
        """
        return cls.parse(read_text(str(file)), str(file))

    @classmethod
    def parse(cls, data: str, file: str) -> NextHead:
        """Read the content of such a file.

        Raises
        ------
        FormatError
            If it is none.
        """
        try:
            return _parsed(strict_json.parse(data, "the text", error=FormatError))
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{file} is no next-token head that `intact learn value` wrote: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of what its rewards depend on."""
        value = [self.model, self.rows, self.fraction, sorted(self.tokens.items()), self.token_fraction]
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _parsed(value: Any) -> NextHead:
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise ValueError(f"expected an object of kind {KIND!r}")
    if value["version"] != VERSION:
        raise ValueError(f"it is of version {value['version']!r}; this program reads {VERSION}")
    rows, tokens, learnt = value["rows"], value["tokens"], value["learnt"]
    if not isinstance(value["model"], str) or not isinstance(learnt, dict):
        raise ValueError("model must be a text, learnt an object")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS or not all(isinstance(r, list) for r in rows):
        raise ValueError(f"rows must be a list of 1 to {MOST_ROWS} lists")
    if not 1 <= len(rows[0]) <= WIDEST or len({len(row) for row in rows}) > 1:
        raise ValueError(f"rows must have one length of 1 to {WIDEST}")
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
    return NextHead(
        value["model"], tuple(map(tuple, rows)), value["fraction"],
        {word: tuple(line) for word, line in tokens.items()}, value["token_fraction"], learnt,
    )  # fmt: skip
