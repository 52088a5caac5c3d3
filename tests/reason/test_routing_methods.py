"""Methods that route parts of a text to another model: nudging, GlimpRouter, Arbitrage."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact.numerics.sampling import LOGPROB_SCALE, entropy, log_probability, top
from intact.reason import Problem, Result, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.glimp_router import bound
from intact.reason.methods.nudging import words
from intact.reason.testing.toy import END, WEIGHTS, MarkovBackend
from support.tiny import write_tiny

NUDGES = {
    "": {"x": 1},
    "a": {" ": 3, "x": 1},
    " ": {"b": 2, "c": 3},
    "b": {" ": 4, "y": 1},
    "c": {" ": 2, END: 1},
    ".": {"a": 1},
}
"""What a nudger says, with words that a space begins; the greedy text behind a is " c c c ..."."""


SHORT = {"": {"a": 1}, "a": {".": 1}, ".": {"a": 1}}
LONG = {"": {"b": 1}, "b": {"c": 1}, "c": {".": 1}, ".": {"b": 1}, "a": {"b": 1}}
"""Models that write steps "a." and "bc." without end."""


class Length:
    """A scorer by length: each letter is worth a tenth."""

    name, digest, version, least, most, reads = "length", "length", 1, 0.0, 1.0, "texts"

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [min(1.0, len(state.text) / 10) for state in states]


def solve(name: str, small: dict[str, Any], other: dict[str, Any], **parameters: Any) -> tuple[Result, list[int]]:
    backends = {"main": MarkovBackend(small), "other": MarkovBackend(other)}
    backends["other"].vocabulary = "other letters"
    driver = Driver(backends, sampling={"max_tokens": 40}, services=Services(lambda _: Length()))  # type: ignore[arg-type,return-value]
    ((_, result),) = driver.solve([MethodJob(find(name), Problem("p", "ask", str), parameters)])
    assert result.error == ""
    assert result.cost.tokens == sum(backend.made for backend in backends.values())
    return result, [backend.made for backend in backends.values()]


def likeliest(weights: dict[str, Any], text: str) -> tuple[str, Fraction]:
    law = MarkovBackend(weights).distribution(text)
    letter = max(law, key=lambda one: law[one])
    return letter, law[letter]


def nudged_by_definition(gamma: Fraction, tokens: int, most: int) -> tuple[str, int]:
    """The text of nudging, letter by letter, from its description."""
    text, nudges, drawn, same = "", 0, 0, []
    while True:
        letter, chance = likeliest(WEIGHTS, text)
        if chance >= gamma:
            drawn += 1
            if letter == END:
                return text, nudges
            text += letter
            if drawn == most:
                return text, nudges
            continue
        nudge, ended = "", False
        while len(nudge) < tokens and not ended:
            letter = likeliest(NUDGES, text + nudge)[0]
            ended = letter == END
            nudge += "" if ended else letter
        given = words(nudge, ended)
        if not given:
            return text, nudges
        nudges += 1
        same = [*same, given][-3:]
        text += given[0]
        count = 1
        for word in given[1:]:
            own, chance = likeliest(WEIGHTS, text)
            if chance >= gamma or own == END or word.startswith(own):
                break
            text, count = text + word, count + 1
        if (ended and count == len(given)) or (len(same) == 3 and same.count(given) == 3):
            return text, nudges


@pytest.mark.parametrize("gamma", [0.2, 0.376, 0.45, 0.51, 0.9])
@pytest.mark.parametrize("tokens", [1, 5, 16])
def test_nudging_is_its_description(gamma: float, tokens: int) -> None:
    found, _ = solve("nudging", dict(WEIGHTS), NUDGES, nudger="other", gamma=gamma, tokens=tokens, max_tokens=12)
    text, nudges = nudged_by_definition(Fraction(str(gamma)), tokens, 12)
    assert found.answer.chosen is not None
    assert found.answer.chosen.text == text
    assert found.answer.details["nudges"] == nudges
    assert (gamma < 0.3) == (nudges == 0)


def test_words_keep_their_space_and_an_unfinished_one_is_left_out() -> None:
    assert words("Sure, here\nwe go", True) == ["Sure,", " here", "\nwe", " go"]
    assert words("Sure, here\nwe go", False) == ["Sure,", " here", "\nwe"]
    assert words(" Su", False) == [" Su"]
    assert words(" \n", True) == [" \n"]
    assert words("so ", False) == ["so"]
    assert words("", True) == []


def test_nudging_replays_on_real_engines_and_draws_no_token_where_it_is_unsure(tmp_path: Any) -> None:
    """Two tiny models of two vocabularies; the base's own text is the greedy one up to the first nudge."""
    paths = [write_tiny(tmp_path / "base.gguf", seed=1), write_tiny(tmp_path / "nudger.gguf", seed=2, vocabulary=310)]
    base, nudger = (intact.load(path, threads=1) for path in paths)
    gamma = 0.3
    options: dict[str, Any] = {"nudger": "nudger", "gamma": gamma, "tokens": 6, "rounds": 4, "max_tokens": 20}
    runs = [intact.solve({"base": base, "nudger": nudger}, "nudging", "Why?", **options) for _ in range(2)]
    assert runs[0].answer == runs[1].answer
    chosen = runs[0].answer.chosen
    assert chosen is not None
    assert 0 < runs[0].answer.details["nudges"] <= 4
    plain = base.chat([{"role": "user", "content": "Why?"}], max_tokens=20)
    first = next(piece for piece in chosen.pieces)
    sure = list(first.logprobs) if first.tokens else []
    assert plain.tokens[: len(sure)] == first.tokens[: len(sure)]
    assert all(value >= math.log(gamma) * LOGPROB_SCALE - 1 for value in sure)


@pytest.mark.parametrize("tau", [0.5, 0.95, 1.01, 1.1])
def test_glimp_router_routes_by_the_entropy_of_the_first_letter(tau: float) -> None:
    def nats(law: dict[str, Fraction]) -> float:
        return -sum(float(p) * math.log(p) for p in law.values())

    options = {"large": "other", "tau": tau, "delimiter": ".", "end": "c", "max_tokens": 9}
    found, _ = solve("glimp_router", dict(WEIGHTS), dict(WEIGHTS), **options)
    nodes = [node for node in found.trace["nodes"] if node["kind"] == "extend"]
    steps = [(a, b) for a, b in pairwise(nodes) if a["parent"] == b["parent"]]
    assert len(steps) == found.answer.details["steps"]
    texts = {node["branch"]: node["text"] for node in nodes}
    routed = 0
    for glimpse, step in steps:
        before = texts.get(glimpse["parent"], "")
        unsure = nats(MarkovBackend(WEIGHTS).distribution(before)) >= tau
        assert step.get("model", "") == ("other" if unsure else "")
        routed += unsure
    assert routed == found.answer.details["routed"]


def test_the_routers_threshold_is_an_integer_of_bits() -> None:
    assert bound(1.0) == 94_548
    assert bound(0.0) == 0


@given(st.lists(st.integers(-(12 << 16), 12 << 16), min_size=1, max_size=40), st.integers(1, 20))
def test_entropy_is_that_of_the_renormalised_best(row: list[int], count: int) -> None:
    logits = np.array(row)
    best = top(logits, count)
    values = [log_probability(logits, int(token)) for token in best]
    chances = np.exp(logits[best] / 65536)
    chances /= chances.sum()
    expected = -(chances * np.log2(chances)).sum()
    assert abs(entropy(values) / 65536 - expected) < 2e-3
    assert entropy(values) == entropy([value - 12_345 * 256 for value in values])  # of the same row, another mass


def test_steps_that_a_scorer_finds_wanting_are_written_again() -> None:
    options = {"large": "other", "delimiter": ".", "steps": 4, "scorer": "length"}
    found, _ = solve("arbitrage", SHORT, LONG, threshold=0.55, **options)
    # scores of the text with a step "a." more: 0.2, then of "bc." and a step: 0.5, then of two: 0.8
    assert found.answer.chosen is not None
    assert found.answer.chosen.text.startswith("bc.bc.a.a.")
    assert found.answer.details == {"steps": 4, "replaced": 2}
    kept, _ = solve("arbitrage", SHORT, LONG, threshold=0.0, **options)
    assert kept.answer.details == {"steps": 4, "replaced": 0}


def test_the_oracle_keeps_the_better_step() -> None:
    options = {"large": "other", "delimiter": ".", "steps": 2, "scorer": "length", "rule": "oracle"}
    found, made = solve("arbitrage", SHORT, LONG, **options)
    assert found.answer.details == {"steps": 2, "replaced": 2}
    assert made[1] == 6
    strict, _ = solve("arbitrage", SHORT, LONG, gain=0.11, **options)
    assert strict.answer.details == {"steps": 2, "replaced": 0}
