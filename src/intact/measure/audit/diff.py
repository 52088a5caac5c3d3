"""Find where two answers diverge, and explain the divergence using a model's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intact._base.errors import LogError
from intact.library import Model
from intact.measure.audit.recompute import output_logits
from intact.measure.audit.runs import AnswerRecord
from intact.measure.audit.scores import log_probability

NEAR_TIE = 0.25
"""The typical difference, in logits, between engines that are not exact (docs/audit.md)."""


@dataclass(frozen=True)
class Parting:
    """A comparison of two runs.

    Attributes
    ----------
    a, b
        The runs.
    unit
        The unit of comparison: tokens, or characters if a run has no tokens.
    common
        Length of the common prefix.
    equal
        If true, the runs are equal throughout.
    prompts
        Relation of the prompts: 'differ', 'same' or 'unknown'.
    settings
        Other differences stated in the files: name, a's value, b's value.
    off
        Largest difference of log-probabilities over the common tokens, in nats, and the first position where it is not
        0; None if a run has no log-probabilities.
    """

    a: AnswerRecord
    b: AnswerRecord
    unit: str
    common: int
    equal: bool
    prompts: str
    settings: tuple[tuple[str, Any, Any], ...]
    off: tuple[float, int | None] | None


@dataclass(frozen=True)
class Candidate:
    """A token at the point where runs diverge: its logit, probability (temperature 1) and rank, 0 for the likeliest."""

    token: int
    logit: float
    probability: float
    rank: int


@dataclass(frozen=True)
class Explanation:
    """A model's logits at the point where two answers diverge.

    Attributes
    ----------
    top
        The likeliest tokens.
    a, b
        The runs' own tokens; None for a run that has ended.
    gap
        Difference between the logits of the two, or None.
    near_tie
        If true, the gap is less than `NEAR_TIE`.
    """

    top: tuple[Candidate, ...]
    a: Candidate | None
    b: Candidate | None
    gap: float | None
    near_tie: bool


def compare(a: AnswerRecord, b: AnswerRecord) -> Parting:
    """Find where two runs diverge."""
    if a.tokens is not None and b.tokens is not None:
        unit, one, other = "tokens", list[Any](a.tokens), list[Any](b.tokens)
    elif a.text is not None and b.text is not None:
        unit, one, other = "characters", list(a.text), list(b.text)
    else:
        raise LogError(f"{a.where} and {b.where} cannot be compared: one has only tokens, the other only text")
    common = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    prompts = "unknown" if None in (a.prompt, b.prompt) or type(a.prompt) is not type(b.prompt) else ""
    prompts = prompts or ("same" if a.prompt == b.prompt else "differ")
    names = [name for name in a.about if name in b.about and a.about[name] != b.about[name]]
    settings = tuple((name, a.about[name], b.about[name]) for name in names)
    return Parting(
        a,
        b,
        unit,
        common,
        equal=one == other,
        prompts=prompts,
        settings=settings,
        off=_off(a, b, common) if unit == "tokens" else None,
    )


def _off(a: AnswerRecord, b: AnswerRecord, common: int) -> tuple[float, int | None] | None:
    if a.logprobs is None or b.logprobs is None or not common:
        return None
    distance = np.abs(np.array(a.logprobs[:common]) - np.array(b.logprobs[:common]))
    return float(distance.max()), next(iter(np.flatnonzero(distance).tolist()), None)


def explain(model: Model, prompt: Sequence[int], parting: Parting, top: int = 5) -> Explanation:
    """Compute the logits at the point where two runs diverge.

    Parameters
    ----------
    prompt
        Token ids of the prompt that both runs share.

    Raises
    ------
    LogError
        If the runs are equal, have no tokens, or have tokens beyond the model's vocabulary or context.
    """
    a, b, place = parting.a.tokens, parting.b.tokens, parting.common
    if a is None or b is None or parting.equal:
        raise LogError("there is no divergence to explain: the runs are equal, or one has no tokens")
    text = [*prompt, *a[:place]]
    vocabulary = model.program.vocabulary
    theirs = [run[place] if place < len(run) else None for run in (a, b)]
    if any(token is not None and not 0 <= token < vocabulary for token in [*text, *theirs]):
        raise LogError(f"a token is outside the model's vocabulary of {vocabulary}: it was made with another tokenizer")
    if len(text) > model.context:
        raise LogError(f"the runs diverge after {len(text)} tokens, but the model's context is {model.context}")
    row = next(output_logits(model, text, [0]))[0]
    order = np.argsort(-row, kind="stable")
    rank = {int(token): place for place, token in enumerate(order)}

    def candidate(token: int) -> Candidate:
        return Candidate(token, float(row[token]), float(np.exp(log_probability(row, token))), rank[token])

    one, other = (None if token is None else candidate(token) for token in theirs)
    gap = None if one is None or other is None else abs(one.logit - other.logit)
    likeliest = tuple(candidate(int(token)) for token in order[:top])
    return Explanation(likeliest, one, other, gap, near_tie=gap is not None and gap < NEAR_TIE)
