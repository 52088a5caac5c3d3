"""Scores of logits for arithmetic.py: their distance from a reference, and the likelihood of texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 64
"""Number of rows of logits to process at a time."""
Logits = NDArray[np.float32]


class Difference:
    """Float64 sums over rows of the differences between two programs' logits on one text, in nats."""

    def __init__(self) -> None:
        self.rows = 0
        self.kl = self.nll = self.top1 = 0.0

    def add(self, reference: Logits, logits: Logits, following: Sequence[int]) -> None:
        """Add rows (n, vocabulary) and the following tokens of the text: KL(reference || logits) and the other sums."""
        x, y = _less_largest(reference), _less_largest(logits)
        p, log_p = _exponentials(x)
        log_q = _exponentials(y)[1]
        gaps = (x - y) - (log_p - log_q).astype(np.float32)[:, None]  # exact where it counts: x and y are small there
        self.kl += float(((p * gaps).sum(axis=1, dtype=np.float64) / p.sum(axis=1, dtype=np.float64)).sum())
        self.nll += float((log_q - _chosen(y, following)).sum())
        self.top1 += float((reference.argmax(axis=1) == logits.argmax(axis=1)).sum())
        self.rows += len(logits)

    def means(self) -> dict[str, float]:
        return {name: getattr(self, name) / self.rows for name in ("kl", "nll", "top1")}


def _less_largest(logits: Logits) -> Logits:
    return logits - logits.max(axis=1, keepdims=True)


def _exponentials(logits: Logits) -> tuple[Logits, NDArray[np.float64]]:
    """Return exponentials of logits, and the logarithm of their sum."""
    e = np.exp(logits)
    return e, np.log(e.sum(axis=1, dtype=np.float64))


def _chosen(logits: Logits, tokens: Sequence[int]) -> Logits:
    return np.take_along_axis(logits, np.asarray(tokens)[:, None], axis=1)[:, 0]


class Scores(ABC):
    """A side that provides logits."""

    @abstractmethod
    def logits(self, tokens: list[int], first: int) -> Logits:
        """Return the logits after each token from position `first`, float32 (tokens - first, vocabulary)."""

    def store(self, tokens: list[int], first: int, path: str) -> bool:
        """Write logits to a file, for comparison by other programs."""
        np.save(path, self.logits(tokens, first)[:-1])
        return True

    def compare(self, tokens: list[int], first: int, paths: dict[str, str]) -> dict[str, dict[str, float]]:
        """Return `differences` of its logits."""
        return differences(self.logits(tokens, first)[:-1], tokens[first + 1 :], paths)

    def likelihood(self, tokens: list[int], start: int) -> float:
        """Return the natural log-probability of the tokens from `start` onwards, given those before."""
        logits = _less_largest(self.logits(tokens, start - 1)[:-1])
        return float((_chosen(logits, tokens[start:]) - _exponentials(logits)[1]).sum())

    def likelihoods(self, texts: list[tuple[list[int], int]]) -> list[float]:
        return [self.likelihood(tokens, start) for tokens, start in texts]


def differences(logits: Logits, following: Sequence[int], paths: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return means of Difference over all rows, for each reference file by name."""
    found = {}
    for name, path in paths.items():
        reference = np.load(path, mmap_mode="r")
        if reference.shape != logits.shape:
            raise SystemExit(f"{path} holds logits of shape {reference.shape}, but this program's have {logits.shape}")
        difference = Difference()
        for row in range(0, len(logits), ROWS):
            rows = slice(row, row + ROWS)
            difference.add(np.asarray(reference[rows]), logits[rows], following[rows])
        found[name] = difference.means()
    return found


def groups(prompts: Sequence[Any], together: int) -> list[Sequence[Any]]:
    """Split prompts into groups of `together`, in order."""
    return [prompts[i : i + together] for i in range(0, len(prompts), together)]
