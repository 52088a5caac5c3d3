"""PRISM, retrieval and the memory of concepts: their laws, by enumeration and scripts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.exact import exp
from intact.reason import Problem, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.methods.concept_memory import read_concepts
from intact.reason.methods.prism import limited
from intact.reason.methods.retrieval import read_follow_up
from intact.reason.populations.variates import happens
from intact.reason.testing.enumeration import Oracle, law
from support.judging import (
    LETTERS,
    PROBLEM,
    REWARDS,
    JudgingPlayer,
    law_of_answers,
    law_of_votes,
    majority,
    solve,
)
from support.script import ScriptBackend

HEAT = 0.5
CHANCES = dict(LETTERS)


# PRISM


def prism_law(monkeypatch: pytest.MonkeyPatch, rounds: int) -> dict[Any, float]:
    """The law of the first text of one and of what it has become, with proposals that do not depend on it."""

    def run(oracle: Oracle) -> tuple[str, str]:
        def accept(key: int, chance: float) -> bool:
            taken = min(Fraction(1), Fraction(chance))
            return oracle.choose([(True, taken), (False, 1 - taken)])

        monkeypatch.setattr("intact.reason.methods.prism.happens", accept)
        player = JudgingPlayer(oracle, 1, lambda _: oracle.choose(LETTERS))
        answer = player.play(find("prism")(PROBLEM, n=1, rounds=rounds, heat=HEAT), PROBLEM)
        end = answer.answer or "c"
        return player.written[0].text[0], end

    return {pair: float(chance) for pair, chance in law(run).items()}


def moved(law_before: dict[str, float]) -> dict[str, float]:
    """One round by its definition: c is proposed in vain, the others are accepted by the ratio of weights."""
    result = dict.fromkeys("abc", 0.0)
    for old, mass in law_before.items():
        for new, chance in CHANCES.items():
            taken = 0.0 if new == "c" else min(1.0, exp((REWARDS[new] - REWARDS[old]) / HEAT))
            result[new] += mass * float(chance) * taken
            result[old] += mass * float(chance) * (1 - taken)
    return result


def test_one_text_of_prism_moves_as_its_acceptance_says(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {letter: float(chance) for letter, chance in CHANCES.items()}
    for rounds in (0, 1, 2):
        ends = dict.fromkeys("abc", 0.0)
        for (_, end), chance in prism_law(monkeypatch, rounds).items():
            ends[end] += chance
        assert ends == pytest.approx(expected)
        expected = moved(expected)


def test_prism_balances_proposals_times_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a and b: q(a) w(a) T(a -> b) = q(b) w(b) T(b -> a)."""
    found = prism_law(monkeypatch, 1)
    step = {(old, new): found[old, new] / float(CHANCES[old]) for old, new in ("ab", "ba")}
    target = {letter: float(CHANCES[letter]) * exp(REWARDS[letter] / HEAT) for letter in "ab"}
    assert target["a"] * step["a", "b"] == pytest.approx(target["b"] * step["b", "a"])


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6), st.integers(1, 6))
def test_no_text_takes_more_places_than_it_may(ancestors: list[int], clones: int) -> None:
    found = limited(ancestors, clones)
    assert all(new in (old, place) for place, (old, new) in enumerate(zip(ancestors, found, strict=True)))
    for one in range(6):
        taken = [place for place, new in enumerate(found) if new == one and ancestors[place] == one]
        assert len([place for place in taken if place != one]) <= clones


def test_prism_resamples_where_few_texts_count_and_votes_by_weight() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "" if "earlier solution" in prompt else ["a41", "c42", "a41", "a41"][place]

    cold, _ = solve("prism", reply, n=4, rounds=1, heat=0.02, clones=2)
    assert cold.answer == "42"
    assert cold.details["resampled"] == [0]
    hot, _ = solve("prism", reply, n=4, rounds=1, heat=50.0)
    assert (hot.answer, hot.details["resampled"]) == ("41", [])
    poor, _ = solve("prism", reply, budget=Budget(tokens=4 * 4), n=4)
    assert poor.answer == "42", "without the means to rewrite, the first texts vote by their weights"


@given(st.integers(0, 2**64 - 1))
def test_what_is_certain_happens_and_what_cannot_be_does_not(key: int) -> None:
    assert happens(key, 1.0)
    assert not happens(key, 0.0)
    assert happens(key, 0.3) <= happens(key, 0.7)


# Retrieval

PASSAGES = """Rome is in Italy.

The Tiber flows
through Rome.

Paris is in France.
"""


@pytest.fixture
def collection(tmp_path: Path) -> str:
    file = tmp_path / "passages.txt"
    file.write_text(PASSAGES)
    return str(file)


def test_methods_without_a_file_are_the_vote() -> None:
    for name in ("retrieval", "iterative_retrieval", "concept_memory"):
        assert law_of_answers(name, n=3) == law_of_votes(3, majority)


def asked_with(name: str, question: str, reply: Any, **values: Any) -> tuple[Any, list[str]]:
    backend = ScriptBackend(reply)
    ((_, result),) = Driver({"main": backend}, sampling={"max_tokens": 400}).solve(
        [MethodJob(find(name), Problem("p", question), values)]
    )
    assert result.why == "done", result.error
    return result.answer, backend.asked


def test_the_nearest_passage_stands_next_to_the_question(collection: str) -> None:
    answer, asked = asked_with(
        "retrieval", "Which river flows through Rome?", lambda *_: "Tiber", file=collection, k=2,
        with_passages="{passages}|{question}",
    )  # fmt: skip
    assert asked == ["Rome is in Italy.\n\nThe Tiber flows\nthrough Rome.|Which river flows through Rome?"]
    assert (answer.answer, answer.details) == ("Tiber", {"passages": [1, 0]})
    _, asked = asked_with("retrieval", "Why?", lambda *_: "x", file=collection)
    assert asked == ["Why?"]


def test_follow_ups_are_searched_for_until_there_are_none(collection: str) -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        kind, _, rest = prompt.partition(":")
        if kind == "next":
            return "No follow-up" if "Italy" in rest else "Let me see.\n**Follow-up:** Where is Rome?"
        return "Italy" if kind == "answer" else "done"

    values = {
        "follow_up": "next:{known}",
        "intermediate": "answer:{passages}?{follow_up}",
        "with_passages": "last:{passages}|{question}",
    }
    answer, asked = asked_with("iterative_retrieval", "The Tiber flows?", reply, file=collection, k=1, **values)
    assert asked == [
        "next:(nothing yet)",
        "answer:Rome is in Italy.?Where is Rome?",
        "next:Where is Rome? Italy",
        "last:The Tiber flows\nthrough Rome.\n\nRome is in Italy.\n\nWhere is Rome? Italy|The Tiber flows?",
    ]
    assert answer.details == {"passages": [0, 1], "known": ["Where is Rome? Italy"]}
    assert read_follow_up("No follow-up") is None
    assert read_follow_up("follow-up: a?\n> Follow up: b?") == "a?"


# Memory of concepts


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Concepts: 3, 1 and 1", [2, 0]),
        ("Concepts: none", []),
        ("**Concepts:** 9\nConcepts: 2", [1]),
        ("Concepts:", None),
        ("I like 2", None),
    ],
)
def test_concepts_are_those_of_the_last_line_of_the_form(text: str, places: list[int] | None) -> None:
    assert read_concepts(text, 3) == places


def test_chosen_concepts_stand_before_the_question(collection: str) -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "Concepts: 3, 1, 2" if prompt.startswith("select") else "done"

    values = {"select": "select:{concepts}", "use": "{concepts}|{question}"}
    answer, asked = asked_with("concept_memory", "Rome?", reply, file=collection, n=1, most=2, **values)
    assert asked[0].startswith("select:Concept 1: Rome is in Italy.\n\nConcept 2: The Tiber")
    assert asked[1:] == ["Paris is in France.\n\nRome is in Italy.|Rome?"]
    assert answer.details == {"concepts": [2, 0]}
    _, asked = asked_with("concept_memory", "In Paris?", reply, file=collection, n=1, candidates=1, **values)
    assert asked == ["select:Concept 1: Paris is in France.", "Paris is in France.|In Paris?"]
