"""Score each token of a response as evidence of its origin (formulas in docs/spec/audit.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.measure.audit.distribution import Distribution, Floats, distribution, softmax
from intact.measure.audit.engines import family
from intact.measure.audit.generators import RANDOM_SEED, cuda_exponentials, llama_uniforms, torch_exponentials
from intact.measure.audit.log import LogEntry

Kind = Literal["greedy", "gumbel", "inverse", "likelihood", "logprobs"]
KINDS: dict[Kind, str] = {
    "greedy": "margin below the likeliest token, in logits",
    "gumbel": "margin below the token that the seed draws, in logits",
    "inverse": "distance between the seed's draw and the token, in probability",
    "likelihood": "surprise beyond what is expected, in nats",
    "logprobs": "distance of the engine's log-probability, in nats",
}


class TokenScore(NamedTuple):
    """The score of one token.

    Attributes
    ----------
    expected
        The token that the reference samples at this position, or None if the draw is unknown.
    score
        As defined by `KINDS`; infinite if the token could not have been sampled, None if the draw is unknown.
    surprise, variance
        The shortfall of the token's log-probability from its expectation, and its variance under the claim; None at
        temperature 0.
    off
        Difference between the engine's log-probability and ours, or None if the log has none.
    """

    expected: int | None
    score: float | None
    surprise: float | None
    variance: float | None
    off: float | None


def kind_of(entry: LogEntry, ignore_seed: bool = False) -> Kind:
    """Return the kind of check that a response's tokens allow."""
    settings, engine = entry.settings, family(entry.engine)
    if settings.temperature == 0:
        return "greedy"
    if settings.seed is None or ignore_seed or entry.batch != 1:
        return "likelihood"
    if engine == "llama.cpp" and settings.seed < RANDOM_SEED:
        return "inverse"
    known = engine == "transformers" or (
        engine == "vllm" and entry.device
    )  # vLLM rarely runs on a CPU, so the log must say so
    return "gumbel" if known and settings.seed < 1 << 63 else "likelihood"


class ResponseScorer:
    """Scores the tokens of one response, in order."""

    def __init__(self, entry: LogEntry, kind: Kind, output: list[int], vocabulary: int) -> None:
        self._entry, self._kind, self._output = entry, kind, output
        self._engine, self._place = family(entry.engine), 0
        seed = entry.settings.seed
        self._uniforms: Floats = np.zeros(0)
        self._noise: Iterator[Floats] = iter(())
        if kind == "inverse" and seed is not None:
            self._uniforms = llama_uniforms(seed, len(output))
        elif kind == "gumbel" and seed is not None:
            on_gpu = entry.device == "cuda"
            self._noise = (
                cuda_exponentials(seed, vocabulary, entry.gpu_threads)
                if on_gpu
                else torch_exponentials(seed, vocabulary)
            )

    def push(self, logits: NDArray[np.float32]) -> Iterator[TokenScore]:
        """Score the next tokens, given the logits that they were sampled from, (tokens, vocabulary)."""
        for row in logits:
            token, place = self._output[self._place], self._place
            self._place += 1
            logprobs = self._entry.logprobs
            off = None if logprobs is None else abs(logprobs[place] - log_probability(row, token))
            if self._kind == "greedy":
                best = int(row.argmax())
                yield TokenScore(best, float(row[best]) - float(row[token]), None, None, off=off)
                continue
            able = distribution(row, self._entry.settings, self._engine)
            moments = surprise(able, row, token, self._entry.settings.temperature)
            yield TokenScore(*self._drawn(able, token, place), *moments, off)

    def _drawn(self, able: Distribution, token: int, place: int) -> tuple[int | None, float | None]:
        if self._kind == "gumbel":
            return gumbel_margin(able, token, next(self._noise), self._entry.settings.temperature)
        if self._kind == "inverse":
            return inverse_distance(able, token, float(self._uniforms[place]))
        return None, None


def gumbel_margin(able: Distribution, token: int, exponentials: Floats, temperature: float) -> tuple[int, float]:
    """Return the token that the noise selects, and the claimed token's distance below it, in logits (Token-DiFR)."""
    noisy = able.logits - np.log(exponentials[able.tokens])
    best, place = int(noisy.argmax()), able.place(token)
    margin = math.inf if place is None else temperature * float(noisy[best] - noisy[place])
    return int(able.tokens[best]), margin


def inverse_distance(able: Distribution, token: int, uniform: float) -> tuple[int, float]:
    """Return the token that a number in [0, 1) selects, and the number's distance from the claimed token's interval."""
    ends = np.cumsum(able.probabilities)
    drawn, place = min(int(np.searchsorted(ends, uniform)), len(ends) - 1), able.place(token)
    if place is None:
        return int(able.tokens[drawn]), math.inf
    low = float(ends[place - 1]) if place else 0.0
    distance = 0.0 if place == drawn else max(low - uniform, uniform - float(ends[place]), 0.0)
    return int(able.tokens[drawn]), distance


def surprise(able: Distribution, row: NDArray[np.float32], token: int, temperature: float) -> tuple[float, float]:
    """Return a token's surprise relative to a draw from `able`, in nats with mean 0, and its variance.

    Likelihoods are taken before any truncation, so truncated tokens have one too.
    """
    scaled = row.astype(np.float64) / temperature
    low = float(scaled.max()) + math.log(float(np.exp(scaled - scaled.max()).sum()))
    p, nats = able.probabilities, low - scaled[able.tokens]
    mean = float(p @ nats)
    return low - float(scaled[token]) - mean, max(0.0, float(p @ nats**2) - mean * mean)


def log_probability(row: NDArray[np.float32], token: int) -> float:
    """Return the log-probability of a token at temperature 1, before any truncation."""
    p = float(softmax(row.astype(np.float64))[token])
    return math.log(p) if p > 0 else -math.inf
