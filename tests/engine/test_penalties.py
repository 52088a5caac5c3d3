"""Histories against counting from scratch; penalties against the formulas of their sources in exact rationals."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.sampling.penalties import History
from intact.numerics.sampling import allowed, edit

SIZE, ENDS = 40, {3, 5}
IDS = st.lists(st.integers(0, SIZE - 1), max_size=60)
LOGITS = st.lists(st.integers(-(1 << 31) + 1, (1 << 31) - 1) | st.integers(-9, 9), min_size=SIZE, max_size=SIZE)
EVERYTHING = SamplingParameters(
    repetition_penalty=1.3, presence_penalty=0.25, frequency_penalty=-0.123456, min_tokens=7,
    logit_bias={1: 0.5, 2: -math.inf, 3: -math.inf, 9: -100},
)  # fmt: skip


def expected(
    parameters: SamplingParameters, prompt: list[int], drawn: list[int], logits: list[int]
) -> list[int | None]:
    """The row after the edits, None for what is forbidden: each formula in rationals, rounded half up, saturated."""

    def fixed(x: Fraction) -> int:
        return max(-(1 << 31) + 1, min((1 << 31) - 1, math.floor(x + Fraction(1, 2))))

    def exact(x: float) -> Fraction:
        return Fraction(repr(x))

    counts, bias = Counter(drawn), dict(parameters.logit_bias)
    row: list[int | None] = []
    for token, z in enumerate(logits):
        if bias.get(token) == -math.inf or (token in ENDS and len(drawn) < parameters.min_tokens):
            row.append(None)
            continue
        z = fixed(z + math.floor(exact(bias.get(token, 0.0)) * 65536 + Fraction(1, 2)))
        if token in prompt or token in counts:
            r = exact(parameters.repetition_penalty)
            z = fixed(z / r if z > 0 else z * r)
        if token in counts:
            penalty = counts[token] * exact(parameters.frequency_penalty) + exact(parameters.presence_penalty)
            z = fixed(Fraction(z - math.floor(penalty * 65536 + Fraction(1, 2))))
        row.append(z)
    return row


def edited(history: History | None, logits: list[int]) -> list[int | None]:
    edits = history.edits() if history else None
    row = edit(np.array(logits), edits) if edits else np.array(logits)
    return [int(z) if may else None for z, may in zip(row, allowed(SIZE, edits, None), strict=True)]


@given(IDS, IDS, LOGITS)
def test_rows_are_edited_by_the_formulas(prompt: list[int], drawn: list[int], logits: list[int]) -> None:
    for parameters in (
        EVERYTHING,
        SamplingParameters(repetition_penalty=0.5),
        SamplingParameters(presence_penalty=-2),
        SamplingParameters(frequency_penalty=2),
        SamplingParameters(min_tokens=9),
        SamplingParameters(logit_bias={4: 1.5}),
        SamplingParameters(),
    ):
        history = History.start(parameters, prompt, ENDS)
        for token in drawn:
            if history:
                history.add(token)
        assert edited(history, logits) == expected(parameters, prompt, drawn, logits)


@given(IDS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, SIZE - 1), st.booleans()), max_size=80))
def test_forks_are_histories_of_their_own(prompt: list[int], steps: list[tuple[int, int, bool]]) -> None:
    """Random forks and additions against lists; edits made earlier never change."""
    logits = [(i - 20) * 12345 for i in range(SIZE)]
    start = History.start(EVERYTHING, prompt, ENDS)
    assert start is not None
    histories: list[tuple[History, list[int]]] = [(start, [])]
    made = []
    for which, token, fork in steps:
        history, drawn = histories[which % len(histories)]
        if fork:
            histories.append((history.fork(), list(drawn)))
        else:
            made.append((history.edits(), expected(EVERYTHING, prompt, drawn, logits)))
            history.add(token)
            drawn.append(token)
    for history, drawn in histories:
        made.append((history.edits(), expected(EVERYTHING, prompt, drawn, logits)))
    for edits, row in made:
        assert edits is not None
        got = np.where(allowed(SIZE, edits, None), edit(np.array(logits), edits), 1 << 40)
        assert got.tolist() == [1 << 40 if z is None else z for z in row]


@given(IDS, IDS)
def test_no_list_of_edits_names_a_token_twice(prompt: list[int], drawn: list[int]) -> None:
    """Kernels apply each edit of a list: a token that is named twice would be penalised twice."""
    history = History.start(EVERYTHING, prompt, ENDS)
    assert history is not None
    for token in drawn:
        history.add(token)
        edits = history.edits()
        assert edits is not None
        for named in (edits.biased, edits.repeated, edits.drawn, edits.forbidden):
            assert len(set(named.tolist())) == len(named)
    edits = history.edits()
    assert edits is not None
    assert set(edits.repeated.tolist()) == {*prompt, *drawn}
    assert dict(zip(edits.drawn.tolist(), edits.counts.tolist(), strict=True)) == Counter(drawn)


def test_nothing_is_kept_where_nothing_applies() -> None:
    assert History.start(SamplingParameters(temperature=0.7, top_p=0.9), [1, 2], ENDS) is None
    history = History.start(SamplingParameters(min_tokens=1), [1], ENDS)
    assert history is not None
    assert history.edits() is not None
    history.add(4)
    assert history.edits() is None
