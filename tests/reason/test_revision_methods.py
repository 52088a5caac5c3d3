"""Methods that revise texts, or say when to begin anew: their laws, on texts that can be enumerated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.reason import Extend, Piece, Problem, Score, State, find
from intact.reason.budget import Budget
from intact.reason.parts.prompting import follow_up, read_list
from intact.reason.parts.revising import better
from intact.reason.testing.enumeration import Oracle, law
from support.judging import (
    FIRST,
    LETTERS,
    PROBLEM,
    JudgingPlayer,
    law_of_answers,
    law_of_votes,
    law_with_draws,
    majority,
    played,
    requests,
    solve,
)


def best(answers: list[str | None]) -> str | None:
    return "b" if "b" in answers else "a" if "a" in answers else None


# Prompts, lists and texts that take the place of others


def test_a_follow_up_repeats_replies_and_the_message_behind_each() -> None:
    replies = [State("q", ("p",), (Piece(text),)) for text in ("x", "y")]
    assert follow_up(Problem("p", "q: "), replies, "no") == "q: x\n\nno\n\ny\n\nno\n\n"
    talk = Problem("p", (("system", "s"), ("user", "q")))
    assert follow_up(talk, replies[:1], "no") == (*talk.prompt, ("assistant", "x"), ("user", "no"))


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("Sure:\n1. one\n2) two\n\n10. ten", ["one", "two", "ten"]),
        ("- one\n  * two\n• one", ["one", "two"]),
        ("one\n\n two \n1.5 is a number", ["one", "two", "1.5 is a number"]),
        ("", []),
        ("1. \n", ["1."]),
    ],
)
def test_a_list_is_read_from_its_marks_or_else_line_by_line(text: str, items: list[str]) -> None:
    assert read_list(text, 9) == items
    assert read_list(text, 1) == items[:1]


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=6))
def test_the_better_text_is_the_first_of_the_highest_score(scores: list[int | None]) -> None:
    texts = [State("q", ("p", i)) for i in range(len(scores))]
    old = State("q", ("old",))
    found = better((old, 1.0), texts, scores)
    known = [score for score in scores if score is not None]
    assert found[1] == max([1, *known])
    assert found[0] == (old if found[1] == 1 else texts[scores.index(int(found[1]))])


# RISE


def test_rise_is_the_majority_of_its_turns() -> None:
    """Where what one is told changes nothing, it is self-consistency."""
    for turns in (1, 2, 3):
        assert law_with_draws("rise", turns=turns) == law_of_votes(turns, majority)


def test_rise_shows_the_newest_answers_alone() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return f"It is {40 + prompt.count('wrong')}"

    answer, backend = solve("rise", reply, turns=4, window=2, retry="wrong")
    assert backend.asked == [
        "6 * 7?",
        "6 * 7?It is 40\n\nwrong\n\n",
        "6 * 7?It is 40\n\nwrong\n\nIt is 41\n\nwrong\n\n",
        "6 * 7?It is 41\n\nwrong\n\nIt is 42\n\nwrong\n\n",
    ]
    assert answer.details == {"turns": [["40", "41", "42", "42"]]}
    assert answer.answer == "42"


# Review, refine, repeat


@pytest.mark.parametrize(("n", "rounds"), [(1, 1), (1, 3), (2, 2)])
def test_iad_is_best_of_n_where_what_is_shown_changes_nothing(n: int, rounds: int) -> None:
    assert law_with_draws("iad", n=n, rounds=rounds) == law_of_votes(n * rounds, best)


def test_the_best_score_of_iad_never_falls() -> None:
    def run(oracle: Oracle) -> bool:
        player = JudgingPlayer(oracle, 1, lambda _: oracle.choose(LETTERS))
        highest = player.play(find("iad")(PROBLEM, n=1, rounds=4), PROBLEM).details["highest"]
        assert len(highest) == 4
        return list(highest) == sorted(highest)

    assert law(run) == {True: 1}


def test_iad_shows_the_best_and_the_worst_of_all_rounds() -> None:
    asked: list[str] = []

    def judge(prompt: str) -> str:
        asked.append(prompt)
        return "a" if len(asked) <= 2 else "b"

    shown = "{best} {best_score} {worst} {worst_score}"
    answer = played("iad", Oracle([1, 0]), judge=judge, n=2, rounds=3, refine=shown)
    assert asked == ["b 0.500 a 0.250"] * 4
    assert (answer.answer, answer.details["highest"]) == ("b", [0.5, 0.5, 0.5])


def test_iad_without_the_means_for_scores_has_the_vote_of_its_texts() -> None:
    answer, _ = solve("iad", lambda prompt, text, place: f"a{41 + (place > 0)}", budget=Budget(scores=2), n=3)
    assert answer.answer == "42"


# Adaptive compute


def test_adaptive_sampling_stops_at_the_first_good_text_and_else_takes_the_best() -> None:
    for n in (1, 3):
        none = (1 - FIRST["b"]) ** n
        silent = FIRST[None] ** n
        found = law_of_answers("adaptive_sampling", n=n, threshold=0.5)
        assert found == {"b": 1 - none, "a": none - silent, None: silent}
    accepted = law(lambda oracle: played("adaptive_sampling", oracle, n=2, threshold=0.5).details["accepted"])
    assert accepted == {True: 1 - (1 - FIRST["b"]) ** 2, False: (1 - FIRST["b"]) ** 2}


@pytest.mark.parametrize(("anneal", "heats"), [(True, [0, 0.5, 0.75, 0.875]), (False, [None] * 4)])
def test_later_samples_are_hotter(anneal: bool, heats: list[float | None]) -> None:
    def serve(request: Any) -> Any:
        if isinstance(request, Score):
            return [0.0]
        return State("ask", ("p", str(request.temperature)), (Piece("a", (1,), (0,), model=""),), "end")

    asked = requests(find("adaptive_sampling")(PROBLEM, n=4, anneal=anneal), serve)
    assert [one.temperature for one in asked if isinstance(one, Extend)] == heats


def test_early_pruning_goes_on_with_what_promises_most() -> None:
    """Of beginnings c promises most, and is no answer; of what is kept the best answers."""
    order = ["c", "b", "a"]

    def expected(kept: int) -> Any:
        def choose(letters: list[str | None]) -> str | None:
            ranked = sorted([letter or "c" for letter in letters], key=order.index)[:kept]
            return next((letter for letter in ranked if letter != "c"), None)

        return choose

    for n, keep, kept in [(2, 0.5, 1), (3, 0.7, 2), (2, 0.0, 1)]:
        found = law_of_answers("early_pruning", 1, n=n, tokens=1, keep=keep)
        assert found == law_of_votes(n, expected(kept))


def test_pruned_beginnings_are_not_written_on() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "" if len(text) > 3 else f"{'abca'[place]} 4{place} and so on"[len(text) :]

    answer, backend = solve("early_pruning", reply, n=4, tokens=4, keep=0.25)
    assert len(backend.asked) == 5
    assert answer.answer == "42"
