"""Requests of any kind that run together on one model, and what is done to the engine in the meantime."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest

from intact.engine.completion import Completion, Job
from intact.engine.draft.base import GREEDY, Drafter, DrawContext, Observed, Tree
from intact.engine.sampling.parameters import SamplingParameters
from intact.library import GenerateOptions, Model


class Ask(NamedTuple):
    """One request: what `generate` takes."""

    prompt: Sequence[int]
    fields: dict[str, Any]
    n: int = 1
    priority: int = 0
    mix: Any = None
    shadow: Sequence[int] | None = None


def job_of(model: Model, ask: Ask, draft: bool = True) -> Job:
    """A request as the library makes it."""
    parameters = SamplingParameters(**ask.fields)
    shadow = None if ask.shadow is None else [list(ask.shadow)]
    mixed = {"mix": ask.mix, "shadow": shadow}
    options = GenerateOptions(parameters=parameters, n=ask.n, priority=ask.priority, draft=draft, **mixed)
    (job,) = model._jobs([list(ask.prompt)], options)
    return job


def completions(job: Job) -> list[Completion]:
    """All samples of a job that is done."""
    return [job.completion(i, True) for i in range(len(job.request.keys))]


def together(model: Model, asks: Sequence[Ask], every: int = 0) -> list[list[Completion]]:
    """Run requests in one batch.

    Parameters
    ----------
    every : int
        Steps between the arrival of one and of the next; 0: all are there at first.
    """
    jobs = [job_of(model, ask) for ask in asks]
    waiting = list(jobs)
    steps = 0
    while waiting or not all(job.done for job in jobs):
        while waiting and (not every or steps % every == 0):
            model.engine.add(waiting.pop(0).request)
            if every:
                break
        assert model.engine.step() or waiting or all(job.done for job in jobs)
        steps += 1
        assert steps < 100_000
    assert model.engine.held == 0
    return [completions(job) for job in jobs]


@contextmanager
def preempting(model: Model, most: int = 1 << 30) -> Iterator[list[int]]:
    """Before every step take the pages of all sequences that drew in the last one; how many these were.

    Parameters
    ----------
    most : int
        How often this is done to one sequence.
    """
    engine = model.engine
    step, taken = engine.step, []
    lengths: dict[object, list[int]] = {}

    def disturbed() -> int:
        taken.append(0)
        for sequence in list(engine.queue.running):
            drawn = lengths.setdefault(sequence, [])
            if sequence.remaining == 1 and sequence.length not in drawn and len(drawn) < most:
                drawn.append(sequence.length)
                engine.scheduler.preempt(sequence)
                taken[-1] += 1
        return step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "step", disturbed)
        yield taken


class Prophet(Drafter):
    """A drafter that has read the answers, and tells them now and then; trees or chains of what is right and wrong."""

    name = "prophet"

    def __init__(self, texts: Sequence[Sequence[int]], trees: bool, vocabulary: int) -> None:
        self.texts, self.trees, self.vocabulary = [list(text) for text in texts], trees, vocabulary
        self.rng = random.Random(7)

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> "_Prophecy":
        return _Prophecy(self, list(tokens))

    def learn(self, observed: Observed) -> None:
        raise AssertionError("it wants no candidates")


class _Prophecy:
    def __init__(self, prophet: Prophet, text: list[int]) -> None:
        self.prophet, self.text = prophet, text

    def extend(self, tokens: Sequence[int]) -> None:
        self.text += tokens

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        rng, size = self.prophet.rng, len(self.text)
        known = [text[size:] for text in self.prophet.texts if text[:size] == self.text and len(text) > size]
        right = rng.choice(known) if known else []
        tokens: list[int] = []
        parents: list[int] = []
        tip = -1
        for token in right[: rng.randint(0, limit)]:
            guess = token if rng.random() < 0.85 else (token + 1) % self.prophet.vocabulary
            if self.prophet.trees and rng.random() < 0.4:  # another beside it
                tokens.append((guess + 1 + rng.randrange(self.prophet.vocabulary - 1)) % self.prophet.vocabulary)
                parents.append(tip)
            tokens.append(guess)
            parents.append(tip)
            tip = len(tokens) - 1
        if not tokens:
            return None
        count = len(tokens)
        tree = Tree(np.array(tokens, np.int32), np.array(parents, np.int32), (0.5,) * count, ("prophet",) * count)
        return tree.cut(limit)
