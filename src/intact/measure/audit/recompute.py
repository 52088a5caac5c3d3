"""Run a log through the model: compute the logits for every token of every response, and the tokens' scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from intact.engine.sequence import SCORED_ROWS
from intact.library import Model
from intact.measure.audit.log import LogEntry
from intact.measure.audit.scores import Kind, ResponseScorer, TokenScore, kind_of, log_probability
from intact.measure.audit.tokens import Response, ResponseReader


@dataclass(frozen=True)
class Scored:
    """A response with a score for each of its tokens."""

    response: Response
    kind: Kind
    scores: tuple[TokenScore, ...]
    prompt_off: tuple[float, ...] = ()
    """Differences between the engine's log-probabilities and ours over the prompt, if the log has them."""


def read_all(model: Model, entries: Sequence[LogEntry], now: datetime | None = None) -> list[Response]:
    """Convert all responses to the model's tokens; nothing is computed until all of them are known to be valid.

    Parameters
    ----------
    now : datetime, optional
        As for `ResponseReader`.

    Raises
    ------
    LogError
        As for `ResponseReader.response`.
    """
    reader = ResponseReader(model.tokenizer, model.program.vocabulary, model.context, now)
    return [reader.response(entry) for entry in entries]


def score(
    model: Model,
    responses: Sequence[Response],
    *,
    ignore_seed: bool = False,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Scored]:
    """Score responses one after another; `progress` is called with the number of output tokens done."""
    for response in responses:
        kind = kind_of(response.entry, ignore_seed or response.retokenised)  # one extra token shifts all draws
        scorer = ResponseScorer(response.entry, kind, response.output, model.program.vocabulary)
        scores: list[TokenScore] = []
        off: list[float] = []
        claimed = response.prompt[1:] if response.prompt_logprobs else []  # the first has no context
        for logits in output_logits(model, response.prompt, response.output, whole=bool(response.prompt_logprobs)):
            some = claimed[len(off) : len(off) + len(logits)]
            off += [
                abs(_prompt_logprob(response, len(off) + i) - log_probability(logits[i], t)) for i, t in enumerate(some)
            ]
            scores.extend(scorer.push(logits[len(some) :]))
            progress(len(logits) - len(some))
        yield Scored(response, kind, tuple(scores), tuple(distance for distance in off if distance == distance))


def _prompt_logprob(response: Response, index: int) -> float:
    """Return the logged log-probability of the prompt's token after the one at an index; NaN if missing."""
    given = response.prompt_logprobs[index + 1]
    return math.nan if given is None else given


def output_logits(
    model: Model, prompt: Sequence[int], output: Sequence[int], *, whole: bool = False
) -> Iterator[NDArray[np.float32]]:
    """Yield the logits that each output token was sampled from, teacher-forced, in chunks of rows (tokens, vocabulary).

    Each array is valid until the next one is requested. If `whole` is true, the logits for all prompt tokens except the
    first come first.
    """
    tokens, first = [*prompt, *output][:-1], 0 if whole else len(prompt) - 1
    with model.exclusive() as engine:
        for chunks, rows in engine.prefill(tokens, SCORED_ROWS, model.adapter_number()):
            wanted = rows[chunks[0].position + rows >= first]
            logits = engine.executor.step_float(chunks, wanted)
            if len(wanted):
                yield logits
