"""DiffAdapt and pruning by perplexity: their laws by enumeration, from their definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest

from intact.errors import ParameterError
from intact.reason import Extend, Piece, Problem, State, find
from intact.reason.methods.diff_adapt import difficulty
from intact.reason.methods.step_pruning import divide, least_important
from intact.reason.testing.enumeration import Oracle, Player, law
from intact.reason.testing.toy import MarkovBackend
from support.judging import FIRST, PROBLEM, Reward, law_of_answers, requests

MODEL = MarkovBackend()

# DiffAdapt


@pytest.mark.parametrize(
    ("hope", "uncertainty", "expected"),
    [(0.6, 0.5, "normal"), (0.9, 0.6, "easy"), (0.5, 0.1, "easy"), (0.3, 9.0, "easy"), (0.29, 0.1, "hard")],
)
def test_the_rule_of_the_three_difficulties(hope: float, uncertainty: float, expected: str) -> None:
    assert difficulty(hope, uncertainty, alpha=0.6, beta=0.5, gamma=0.3) == expected


def begun(reward: float) -> Any:
    """What DiffAdapt asks for, where the text begun has a known reward, one token, and the chances 3/4 and 1/4."""
    backend = MarkovBackend({"": {"a": 3, "b": 1}, "a": {"a": 1}, "b": {"b": 1}})

    def serve(request: Any) -> Any:
        if isinstance(request, Extend):
            assert (request.temperature, request.max_tokens) == (0.0, 1)
            return Player(backend, Oracle(), 1)._extend(request)
        return [reward] if not isinstance(request, list) else [PROBLEM.start for _ in request]

    return lambda **values: requests(find("diff_adapt")(PROBLEM, n=3, tokens=1, max_tokens=50, **values), serve)[-1]


@pytest.mark.parametrize(
    ("reward", "beta", "temperature", "most"),
    [(0.7, 0.57, 0.8, 50), (0.7, 0.56, 0.5, 20), (0.2, 0.57, 0.4, 25), (0.4, 0.57, 0.5, 20)],
)
def test_texts_are_written_as_the_signals_say(reward: float, beta: float, temperature: float, most: int) -> None:
    """The entropy of (3/4, 1/4) is .5623: between the two thresholds."""
    assert -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) == pytest.approx(0.5623, abs=1e-4)
    last = begun(reward)(alpha=0.6, beta=beta, gamma=0.3)
    assert last == [Extend(PROBLEM.start, temperature=temperature, max_tokens=most)] * 3


def test_the_text_that_is_begun_does_not_answer() -> None:
    assert law_of_answers("diff_adapt", tokens=1, max_tokens=1) == FIRST


def test_thresholds_that_cross_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"gamma must be at most alpha, which is 0\.2, got 0\.3"):
        next(find("diff_adapt")(PROBLEM, alpha=0.2))


# Pruning by perplexity

SPELLED = Problem("p", "ask", read=lambda text: text[-1:] if text[-1:] in ("a", "b") else None)


def test_steps_keep_their_delimiters_and_blank_ones_go_with_the_one_before() -> None:
    assert divide("one\n\ntwo\n three", "\n") == ["one\n\n", "two\n", " three"]
    assert divide("", "\n") == []
    assert "".join(divide("a. b. c", ". ")) == "a. b. c"


def test_the_least_important_steps_go_the_later_of_equals_first() -> None:
    assert least_important([0.5, -0.1, None, -0.1], 0.4) == {3}
    assert least_important([0.5, -0.1, None, -0.1], 0.7) == {1, 3}
    assert least_important([0.5, -0.1], 0.4) == set()


def texts(longest: int, start: str = "") -> Iterator[tuple[str, Fraction]]:
    for text, chance, _ in MODEL.texts(longest, "\0", start):
        yield text, chance


def mean_chance(chain: str, answer: str) -> float | None:
    """The logarithm of the chance of a letter behind a text; None if it cannot follow."""
    row = MODEL.distribution(chain)
    return math.log(row[answer]) if answer in row else None


def pruned_by_hand(text: str, share: float, markers: Sequence[str], cue: str) -> str | None:
    """What is left of a text before its conclusion, by the definition; None where nothing is cut."""
    steps = [part + "." for part in text.split(".")]
    steps[-1] = steps[-1][:-1]
    if not steps[-1]:
        steps.pop()
    merged: list[str] = []
    for step in steps:
        if merged and not step.strip():
            merged[-1] += step
        else:
            merged.append(step)
    chain, answer = merged[:-1], text[-1:]
    marked = [i for i, step in enumerate(chain) if step.strip(".") in markers]
    if answer not in ("a", "b") or not marked:
        return None
    whole = mean_chance("".join(chain) + cue, answer)
    values = {}
    for i in marked:
        other = mean_chance("".join(chain[:i] + chain[i + 1 :]) + cue, answer)
        if whole is not None and other is not None:
            values[i] = whole - other
    order = sorted(values, key=lambda i: (values[i], -i))
    gone = order[: int(len(values) * share)]
    return "".join(step for i, step in enumerate(chain) if i not in gone) if gone else None


@pytest.mark.parametrize(("share", "cue"), [(1.0, "a"), (0.5, "b"), (0.0, "a")])
def test_the_law_of_answers_of_pruned_texts(share: float, cue: str) -> None:
    """One text of at most five letters whose steps end with a point; those of one letter alone may be cut."""

    def run(oracle: Oracle) -> str | None:
        steps = find("step_pruning")(SPELLED, n=1, share=share, markers="a, b, c", cue=cue, delimiter=".")
        player = Player(MODEL, oracle, 5, Reward())
        found: str | None = player.play(steps, SPELLED).answer
        return found

    expected: Counter[str | None] = Counter()
    changed = Fraction(0)
    for text, chance in texts(5):
        kept = pruned_by_hand(text, share, ["a", "b", "c"], cue)
        if kept is None:
            expected[SPELLED.read(text)] += chance  # type: ignore[assignment]
            continue
        changed += chance
        for rest, further in texts(5, kept):
            answer = SPELLED.read(kept + rest)
            expected[SPELLED.read(text) if answer is None else answer] += chance * further  # type: ignore[assignment]
    assert law(run) == dict(expected)
    assert bool(changed) == (share > 0)


def test_what_matters_for_the_answer_is_kept() -> None:
    """A scripted model that is sure of the answer only while one step stands before it."""

    def serve(request: Any) -> Any:
        if not isinstance(request, list):
            return State("ask", ("p", 9), (*request.state.pieces, *reply("So 7")), "end")
        if request[0].regex is None:
            return [State("ask", ("p", 0), reply("x = 3\ncheck one\ncheck two\nSo 7"), "end")]
        return [
            State("ask", ("p", i), (*one.state.pieces, *reply("7", -1 if "two" in one.state.text else -4)), "length")
            for i, one in enumerate(request)
        ]

    problem = Problem("p", "ask", read=lambda text: text[-1:] or None)
    asked = requests(find("step_pruning")(problem, n=1, share=0.5, markers="check"), serve)
    assert [one.state.text for one in asked[1]] == [
        "x = 3\ncheck one\ncheck two\nThe answer is ",
        "x = 3\ncheck two\nThe answer is ",
        "x = 3\ncheck one\nThe answer is ",
    ]
    assert asked[2].state.text == "x = 3\ncheck two\n"


def reply(text: str, logprob: int = -1) -> Any:
    return (Piece(text, (1,), (logprob << 24,), model=""),)
