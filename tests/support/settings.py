"""What may not change a bit: settings of a run, all pairs of them, and what a run of a model under them gives."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import intact
from intact.library import Model
from intact.text import Tokenizer

WHOLE = 4096
FACTORS: dict[str, tuple[Any, ...]] = {
    "threads": (1, 2, 3),
    "batch": (1, 3, 8),
    "chunk": (WHOLE, 1, 7, 64),
    "sampled": (False, True),
    "page_size": (32, 16, 64),
}
SAMPLED = {"temperature": 0.9, "top_p": 0.95, "top_k": 60, "min_p": 0.002, "seed": 11}


class Setting(NamedTuple):
    """One run: the tier, and a value of each factor."""

    tier: str
    threads: int
    batch: int
    chunk: int
    sampled: bool
    page_size: int


class Outcome(NamedTuple):
    """All that a run gives: exact logits of the prompt, tokens and log-probabilities of its continuation."""

    logits: np.ndarray
    """Exact integers; in the fp32 profile the floats' bits."""
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...]
    text: str
    finish: str

    def differs(self, other: "Outcome") -> list[str]:
        """Names of what differs."""
        return [name for name, a, b in zip(self._fields, self, other, strict=True) if not np.array_equal(a, b)]


def all_pairs(factors: Mapping[str, Sequence[Any]], seed: int = 0, tries: int = 60) -> list[dict[str, Any]]:
    """Rows in which every value of every factor meets every value of every other, greedily few.

    Each row is the best of some random ones that begin with a pair still missing; so the rows depend on the seed alone.
    """
    draw = random.Random(seed)
    names = list(factors)
    missing = {((a, x), (b, y)) for a, b in combinations(names, 2) for x, y in product(factors[a], factors[b])}
    rows: list[dict[str, Any]] = []
    while missing:
        candidates = []
        for pair in draw.choices(sorted(missing, key=repr), k=tries):
            row = {name: draw.choice(factors[name]) for name in names} | dict(pair)
            candidates.append({name: row[name] for name in names})
        row = max(candidates, key=lambda row: len(missing & set(combinations(row.items(), 2))))
        missing -= set(combinations(row.items(), 2))
        rows.append(row)
    return rows


@contextmanager
def watched(model: Model) -> Iterator[list[list[int]]]:
    """Note the lengths of the chunks of each step, and see that the executor counted the same."""
    executor: Any = model.executor
    steps: list[list[int]] = []
    before = executor.counters
    step = executor._step

    def noted(chunks: Any, wanted: Any) -> Any:
        steps.append([len(chunk.tokens) for chunk in chunks])
        return step(chunks, wanted)

    executor._step = noted
    try:
        yield steps
    finally:
        del executor._step
    after = executor.counters
    assert after["steps"] - before["steps"] == len(steps)
    assert after["rows"] - before["rows"] == sum(map(sum, steps))
    assert after["chunks"] - before["chunks"] == sum(map(len, steps))
    assert after["largest_step"] == max(before["largest_step"], *map(sum, steps))


def observe(
    path: Path,
    setting: Setting,
    prompt: Sequence[int],
    strangers: Callable[[int], Sequence[int]],
    max_tokens: int,
    **options: Any,
) -> Outcome:
    """Run a model under a setting and see that the setting took effect.

    Parameters
    ----------
    prompt : token ids
        More than 64 of them, or else a chunk of 64 were the whole.
    strangers : callable
        Gives the i-th prompt that shares the batch, of one or two tokens.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTACT_ISA", setting.tier)
        model = intact.load(
            path,
            threads=setting.threads,
            page_size=setting.page_size,
            chunk=setting.chunk,
            rows=WHOLE,
            drafter="off",
            **options,
        )
    description = model.executor.description
    executor = options.get("executor", "native")
    assert (description["executor"], description["threads"]) == (executor, setting.threads)
    assert description["tier"] == setting.tier or executor != "native"
    assert model.executor.page_size == setting.page_size

    with watched(model) as steps:
        if model.executor.profile == "int8":
            logits, scale = model.logits(prompt, raw=True)
            assert scale == 65536
        else:
            logits = model.logits(prompt).view(np.int32)  # the bits of floats
    assert steps == [[min(setting.chunk, len(prompt) - i)] for i in range(0, len(prompt), setting.chunk)]

    others = [list(strangers(i)) for i in range(setting.batch - 1)]
    trickles = len(prompt) // setting.chunk >= max_tokens - 2  # then the others would be gone when the long one is in
    place = 0 if trickles else len(others) // 2
    prompts = [*others[:place], list(prompt), *others[place:]]
    parameters = SAMPLED if setting.sampled else {}
    with watched(model) as steps, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "eos_ids", frozenset())  # no token ends a continuation: all draw as many
        found = model.generate(prompts, max_tokens=max_tokens, logprobs=True, **parameters)
    assert max(map(len, steps)) == setting.batch  # at some time all were there
    prompt_rows = sum(map(len, prompts))
    assert sum(map(sum, steps)) == prompt_rows + setting.batch * (max_tokens - 1)
    assert sum(steps[0]) == min(setting.chunk, prompt_rows)
    assert max(map(sum, steps)) <= (setting.chunk - 1) + setting.batch or setting.chunk == WHOLE
    if setting.chunk == WHOLE:
        assert steps == [[len(one) for one in prompts]] + [[1] * setting.batch] * (max_tokens - 1)
    assert model.engine.held == 0
    (mine,) = found[place]
    assert mine.logprobs is not None
    return Outcome(logits, mine.tokens, mine.logprobs, mine.text, mine.finish)
