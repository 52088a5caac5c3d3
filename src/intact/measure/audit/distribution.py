"""The distribution that an engine samples from: logits after temperature, top_k, top_p and min_p, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.measure.audit.log import SamplerSettings

Floats = NDArray[np.float64]

ORDERS: Mapping[str, tuple[str, ...]] = {
    "llama.cpp": ("top_k", "top_p", "min_p", "temperature"),
    "vllm": ("temperature", "min_p", "top_k", "top_p"),
    "transformers": ("temperature", "top_k", "top_p", "min_p"),
}
"""The default order of steps, as in Transformers."""


class Distribution(NamedTuple):
    """The tokens that can be sampled at one position.

    Attributes
    ----------
    tokens
        Token ids, in descending order of logits if the engine sorted them, else by id.
    logits
        Logits of these tokens, divided by the temperature.
    """

    tokens: NDArray[np.int64]
    logits: Floats

    @property
    def probabilities(self) -> Floats:
        """The softmax of the logits."""
        return softmax(self.logits)

    def place(self, token: int) -> int | None:
        """Return the index of a token, or None if it cannot be sampled."""
        found = np.flatnonzero(self.tokens == token)
        return int(found[0]) if len(found) else None


def softmax(logits: Floats) -> Floats:
    """Return the softmax of logits along the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p: Floats = e / e.sum(axis=-1, keepdims=True)
    return p


def distribution(logits: NDArray[np.floating], settings: SamplerSettings, engine: str) -> Distribution:
    """Return the distribution over tokens, for a temperature above 0.

    Parameters
    ----------
    logits
        Logits of all tokens, (vocabulary,).
    engine
        A family (`intact.measure.audit.engines.family`).

    Returns
    -------
    Distribution
        top_k keeps the k largest logits, top_p the largest ones up to the first at which the cumulative probability
        reaches it, and min_p those with at least this fraction of the largest probability. Ties go to the lowest id.
    """
    tokens = _ordered(logits, settings)
    values = logits[tokens].astype(np.float64)
    for step in ORDERS.get(engine, ORDERS["transformers"]):
        if step == "temperature":
            values = values / settings.temperature
        elif step == "top_p" and settings.top_p < 1:
            p = softmax(values)
            keep = np.cumsum(p) - p < settings.top_p
            keep[0] = True
            tokens, values = tokens[keep], values[keep]
        elif step == "min_p" and settings.min_p > 0:
            keep = values >= values.max() + np.log(settings.min_p)
            tokens, values = tokens[keep], values[keep]
        # top_k was applied first, so neither temperature nor min_p changes which logits are largest
    return Distribution(tokens, values)


def _ordered(logits: NDArray[np.floating], settings: SamplerSettings) -> NDArray[np.int64]:
    k, size = settings.top_k, len(logits)
    if 0 < k < size:
        least = np.partition(logits, size - k)[size - k]
        best = np.flatnonzero(logits >= least)
        ordered = best[np.argsort(-logits[best], kind="stable")][:k]
    elif k or settings.top_p < 1:
        ordered = np.argsort(-logits, kind="stable")
    else:
        ordered = np.arange(size)
    return ordered.astype(np.int64)
