"""Methods that follow cheap signals, or what a model says of given texts: their laws by enumeration."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Extend, Piece, Problem, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.methods.diff_adapt import difficulty
from intact.reason.methods.step_pruning import divide, least_important
from intact.reason.testing.enumeration import Oracle, Player, law
from intact.reason.testing.toy import MarkovBackend
from support.judging import FIRST, PROBLEM, JudgingPlayer, Reward, law_of_answers, requests
from support.script import ScriptBackend

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
    with pytest.raises(ParameterError, match=r"gamma must be at most alpha \(0\.2\), got 0\.3"):
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


def test_steps_of_texts_without_log_probabilities_are_not_pruned() -> None:
    def serve(request: Any) -> Any:
        return [State("ask", ("p", 0), (Piece("x = 3\ncheck one\nSo 7", (1,), (), model=""),), "end")]

    problem = Problem("p", "ask", read=lambda text: text[-1:] or None)
    with pytest.raises(ParameterError, match="the back end does not report log-probabilities"):
        requests(find("step_pruning")(problem, n=1, share=1.0, markers="check"), serve)


def test_a_back_end_that_knows_no_expressions_is_named() -> None:
    def serve(request: Any) -> Any:
        if request[0].regex is None:
            return [State("ask", ("p", 0), reply("x = 3\ncheck one\nSo 7"), "end")]
        return [State("ask", ("p", i), (), "error", "endpoints do not support regex") for i in range(2)]

    problem = Problem("p", "ask", read=lambda text: text[-1:] or None)
    with pytest.raises(ParameterError, match=r"be forced to write a given text: endpoints do not support regex"):
        requests(find("step_pruning")(problem, n=1, share=1.0, markers="check"), serve)


def reply(text: str, logprob: int = -1) -> Any:
    return (Piece(text, (1,), (logprob << 24,), model=""),)


# Step-wise choice


def last_in_order(prompt: str) -> str:
    """A judge that takes the step that comes last in the alphabet; of "." and an end of the text, the point."""
    steps = re.findall(r"^Step \d+:\n(.*)$", prompt, re.MULTILINE)
    assert len(steps) > 1
    return f"They differ.\nChoice: {1 + max(range(len(steps)), key=lambda i: steps[i])}"


WHOLE = Problem("p", "ask", read=lambda text: text or None)


def chosen_by_hand(k: int, steps: int, begun: str = "") -> dict[str, Fraction]:
    """The law of texts of one letter a step: each is the last in order of k letters; an empty one ends the text."""
    if not steps:
        law_of_ends: Counter[str] = Counter()
        for rest, chance, _ in MODEL.texts(1, "\0", begun):
            law_of_ends[begun + rest] += chance  # type: ignore[assignment]
        return dict(law_of_ends)
    found: Counter[str] = Counter()
    for drawn in itertools.product(MODEL.distribution(begun).items(), repeat=k):
        chance = math.prod((p for _, p in drawn), start=Fraction(1))
        best = max(letter.replace("$", "") for letter, _ in drawn)
        rest = chosen_by_hand(k, steps - 1, begun + best) if best else {begun: Fraction(1)}
        for text, further in rest.items():
            found[text] += chance * further  # type: ignore[assignment]
    return dict(found)


@pytest.mark.parametrize(("k", "steps"), [(2, 1), (2, 2), (3, 1), (1, 2)])
def test_each_step_is_the_one_that_the_judge_chooses(k: int, steps: int) -> None:
    def run(oracle: Oracle) -> str:
        player = JudgingPlayer(oracle, 1, last_in_order)
        player_problem = replace(WHOLE, prompt=PROBLEM.prompt)
        found = player.play(find("step_choice")(player_problem, k=k, steps=steps), player_problem)
        return found.chosen.text if found.chosen is not None else ""

    assert law(run) == chosen_by_hand(k, steps)


def test_a_judge_that_does_not_look_is_chain_of_thought() -> None:
    assert law_of_answers("step_choice", 1, lambda _: "Choice: 1", k=3, steps=1) == FIRST
    assert law_of_answers("step_choice", 1, lambda _: "I cannot tell.", k=3, steps=1) == FIRST


def test_a_step_drawn_at_random_is_chain_of_thought_and_asks_nobody() -> None:
    assert law_of_answers("step_choice", 1, k=3, steps=1, rule="random") == FIRST


def test_the_judge_sees_the_solution_and_distinct_steps_and_may_be_another_model() -> None:
    asked: list[str] = []

    def judge(prompt: str, text: str, place: int) -> str:
        asked.append(prompt)
        return "Choice: 2"

    def write(prompt: str, text: str, place: int) -> str:
        step = text.count("\n\n")
        return ["first\n\n", "second\n\n", "first \n\n"][place % 3] if step < 1 else "so 7"

    backends = {"main": ScriptBackend(write), "other": ScriptBackend(judge, "others")}
    driver = Driver(backends, sampling={"max_tokens": 100})
    problem = Problem("p", "How many?", read=lambda text: text[-1:] or None)
    ((_, result),) = driver.solve([MethodJob(find("step_choice"), problem, {"k": 3, "judge": "other"})])
    assert result.answer.answer == "7"
    assert result.answer.details == {"steps": 2, "choices": [1]}
    (prompt,) = asked
    assert prompt.startswith("How many?\n\nThe solution so far:\n(nothing yet)\n")
    assert re.findall(r"Step \d:\n(.+)", prompt) == ["first", "second"]
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == "second\n\nso 7"


# Entropy-adaptive decoding

LARGE = MarkovBackend(
    {
        "": {"a": 1, "b": 1},
        "a": {"b": 1, "$": 7},
        "b": {"c": 1, "a": 1},
        "c": {"a": 1, "c": 14, "$": 1},
        ".": {"$": 1},
    }
)


class TwoModels(Player):
    """Extensions by the model that they name."""

    def _extend(self, request: Extend) -> State:
        self.model = LARGE if request.model else MODEL
        return super()._extend(request)


def bits_by_hand(text: str, model: MarkovBackend) -> float:
    return -sum(float(p) * math.log2(p) for p in model.distribution(text).values())


def switched_by_hand(window: int, threshold: float, least: int, most: int) -> dict[tuple[str, int], Fraction]:
    """The law of a text and of its letters by the larger model, letter by letter from the definition."""
    found: Counter[tuple[str, int]] = Counter()

    def go(text: str, chance: Fraction, seen: list[float], large: bool, since: int, count: int) -> None:
        if len(seen) == most:
            found[text, count] += chance  # type: ignore[assignment]
            return
        model = LARGE if large else MODEL
        here = [*seen, bits_by_hand(text, model)]
        mean = sum(here[-window:]) / len(here[-window:])
        change = (mean > threshold) != large and since + 1 >= least
        for letter, p in model.distribution(text).items():
            if letter == "$":
                found[text, count + large] += chance * p  # type: ignore[assignment]
            else:
                go(text + letter, chance * p, here, large != change, 0 if change else since + 1, count + large)

    go("", Fraction(1), [], False, 0, 0)
    return dict(found)


@pytest.mark.parametrize(
    ("window", "threshold", "least"), [(1, 1.2, 1), (2, 1.4, 1), (2, 1.0, 2), (3, 0.0, 3), (1, 99.0, 1)]
)
def test_the_larger_model_writes_where_the_last_tokens_were_uncertain(
    window: int, threshold: float, least: int
) -> None:
    def run(oracle: Oracle) -> tuple[str, int]:
        steps = find("entropy_decoding")(WHOLE, window=window, threshold=threshold, least=least, max_tokens=4)
        found = TwoModels(MODEL, oracle).play(steps, WHOLE)
        return found.chosen.text, found.details["large"]

    assert law(run) == switched_by_hand(window, threshold, least, 4)


def test_the_larger_model_takes_part() -> None:
    shares = [sum(count * chance for (_, count), chance in switched_by_hand(1, t, 1, 4).items()) for t in (0, 1.2, 99)]
    assert shares[0] > shares[1] > shares[2] == 0
