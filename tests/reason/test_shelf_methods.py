"""Methods that choose among texts, or have a model choose: their laws, on texts that can be enumerated."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact._base.exact import power
from intact.reason import Extend, find
from intact.reason.aggregate.attempts import best_number, chance_right, check_of, read_kinds
from intact.reason.aggregate.pairs import Duel, consistent, points
from intact.reason.budget import Budget
from intact.reason.methods.text_selectors import marker_pattern, marker_rate
from intact.reason.methods.tree_of_thoughts import worth
from intact.reason.parts.comparing import numbered, read_choice
from intact.reason.testing.enumeration import Oracle, Player, law, pieces
from intact.reason.testing.toy import END, MarkovBackend
from intact.stats.laws.verifier import Verifier, best_attempts, ceiling
from support.judging import (
    FIRST,
    PROBLEM,
    JudgingPlayer,
    law_of_answers,
    law_of_votes,
    majority,
    played,
    silence,
    solve,
)

# Choices that a model makes


@given(st.text(), st.integers(1, 9))
def test_a_choice_is_one_of_the_options_or_none(text: str, options: int) -> None:
    chosen = read_choice(text, options)
    assert chosen is None or 0 <= chosen < options
    assert read_choice(f"{text}\n**Choice: {options}**.", options) == options - 1


@pytest.mark.parametrize(
    ("text", "options", "place"),
    [
        ("Choice: 2", 2, 1),
        ("Choice: 1\nno, rather\n> choice - 3", 3, 2),
        ("Choice: 3", 2, None),
        ("Choice: 0", 2, None),
        ("I make the choice: 2", 2, None),
        ("Choice: 12", 20, 11),
        ("2", 2, None),
    ],
)
def test_the_last_line_of_the_form_is_the_choice(text: str, options: int, place: int | None) -> None:
    assert read_choice(text, options) == place


def test_a_reply_without_a_choice_is_made_to_go_on() -> None:
    """Of two choices one comes only behind "Choice:", one never."""

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == "6 * 7?":
            return "42" if place else "41"
        if text.endswith("\n\nChoice:"):
            return " 2" if "Answer 1:\n41" in prompt else "neither"
        return "Let me think"

    answer, backend = solve("judge_selection", reply, n=2, checks=2)
    assert (answer.answer, answer.details["choices"]) == ("42", [1])
    assert len(backend.asked) == 2 + 2 + 2


@given(st.integers(2, 5), st.data())
def test_points_add_up_to_the_number_of_duels(count: int, data: st.DataObject) -> None:
    pairs = list(itertools.combinations(range(count), 2))
    duels = [Duel(i, j, data.draw(st.sampled_from([i, j, None]))) for i, j in pairs]
    found = points(count, duels)
    assert sum(found) == len(pairs)
    for one in range(count):
        won = sum(duel.winner == one for duel in duels)
        drawn = sum(duel.winner is None for duel in duels if one in duel[:2])
        assert found[one] == won + Fraction(drawn, 2)
    with pytest.raises(ParameterError, match="duel"):
        points(count, [Duel(0, count, 0)])
    with pytest.raises(ParameterError, match="duel"):
        points(count, [Duel(0, 1, 7)])


def test_a_duel_is_won_by_who_is_named_in_both_orders() -> None:
    assert consistent(4, 7, 0, 1) == (4, 7, 4)
    assert consistent(4, 7, 1, 0) == (4, 7, 7)
    for forward, backward in [(0, 0), (1, 1), (None, 1), (0, None), (None, None)]:
        assert consistent(4, 7, forward, backward).winner is None


def prefers_b(prompt: str) -> str:
    listed = re.findall(r"Answer (\d+):\n(.)", prompt)
    return f"Choice: {next((place for place, letter in listed if letter == 'b'), '1')}"


def test_a_good_judge_finds_the_right_answer_wherever_it_stands() -> None:
    def right(answers: list[str | None]) -> str | None:
        return "b" if "b" in answers else majority(answers)

    for name, values in [("judge_selection", {"checks": 2}), ("pairwise_selection", {})]:
        assert law_of_answers(name, judge=prefers_b, n=3, **values) == law_of_votes(3, right)


def test_a_judge_that_looks_at_the_order_alone_decides_nothing_by_pairs() -> None:
    for place in "12":
        found = law_of_answers("pairwise_selection", judge=lambda _: f"Choice: {place}", n=3)  # noqa: B023
        assert found == law_of_votes(3, majority)
    turned = played("judge_selection", Oracle([0, 1]), judge=lambda _: "Choice: 1", n=2, checks=2)
    assert turned.details == {"rewards": [1.0, 1.0], "choices": [0, 1]}


def test_a_judge_is_not_needed_where_all_agree_and_not_heard_where_it_cannot_be_paid() -> None:
    answer, backend = solve("pairwise_selection", lambda prompt, text, place: "42", n=3)
    assert (answer.answer, len(backend.asked)) == ("42", 3)
    for name in ("judge_selection", "pairwise_selection"):
        answer, _ = solve(
            name,
            lambda prompt, text, place: "Choice: 1" if "Answer" in prompt else f"{42 - (place == 0)}",
            budget=Budget(tokens=3 * 3 + 5),
            n=3,
        )
        assert answer.answer == "42"


def test_texts_are_listed_under_their_numbers() -> None:
    assert numbered(["x", "y\nz"]) == "Answer 1:\nx\n\nAnswer 2:\ny\nz"


# Tree of Thoughts


def test_tree_of_thoughts_keeps_what_the_judge_calls_sure() -> None:
    """Thoughts of one letter: of k = 2 beginnings the one with b is kept, and then its best continuation."""

    def judge(prompt: str) -> str:
        text = prompt.partition("whole of one:\n\n")[2].partition("\n\nJudge")[0]
        return {"b": "sure", "a": "It is\nlikely"}.get(text[-1:], "impossible")

    def expected(k: int) -> dict[str | None, Fraction]:
        return law_of_votes(k, lambda letters: "b" if "b" in letters else "a" if "a" in letters else None)

    for k in (1, 2, 3):
        found = law_of_answers("tree_of_thoughts", 1, judge, k=k, width=1, steps=1, checks=1)
        # A text of one letter that is cut there is written on, which leaves its first letter.
        assert found == expected(k)


def test_tree_of_thoughts_by_votes_and_by_values_ask_what_they_should() -> None:
    counted = Counter[str]()

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == "6 * 7?":
            return {"": f"so {4 + place}\n", "so 5\n": f"then 4{place % 2}"}.get(text, "")
        counted["value" if "Judge whether" in prompt else "vote"] += 1
        if "Judge whether" in prompt:
            return "sure" if "so 5" in prompt and "40" not in prompt else "impossible"
        listed = re.findall(r"Answer (\d+):\n(.+(?:\n(?!\n).+)?)", prompt)
        return f"Choice: {max(listed, key=lambda one: ('so 5' in one[1], one[1]))[0]}"

    for judge, asked in [("value", {"value": 2 * (2 + 2)}), ("vote", {"vote": 2 * 2})]:
        counted.clear()
        answer, _ = solve("tree_of_thoughts", reply, k=2, width=1, checks=2, steps=3, judge=judge)
        assert answer.answer == "41"
        assert answer.details["levels"] == 2
        assert counted == asked


def test_equal_thoughts_are_judged_once_and_the_words_have_the_authors_worth() -> None:
    prompts = []

    def judge(prompt: str) -> str:
        prompts.append(prompt)
        return "sure"

    played("tree_of_thoughts", Oracle(), 1, judge, k=3, width=3, checks=2, steps=1)
    assert len(prompts) == 2
    assert [worth(text) for text in ("sure", "sure\nLikely.", "impossible", "sure\n?", "")] == [20, 1, 0.001, 0, 0]


# Resampling until a verifier accepts


def test_resampling_stops_at_the_first_accepted_and_else_takes_the_best() -> None:
    """Accepted is b; c scores more, but is no answer. Without a b, the answer is a, and nothing where it abstains."""
    for n in (1, 3):
        none = (1 - FIRST["b"]) ** n
        silent = FIRST[None] ** n
        found = law_of_answers("resample_until_verified", n=n, threshold=0.5)
        assert found == {"b": 1 - none, "a": none - silent, None: silent}
        strict = law_of_answers("resample_until_verified", n=n, threshold=0.5, abstain=True)
        assert strict == {"b": 1 - none, None: none}
    attempts = law(lambda oracle: played("resample_until_verified", oracle, n=4).details["attempts"])
    assert attempts == {k: (1 - FIRST["b"]) ** (k - 1) * (FIRST["b"] if k < 4 else 1) for k in range(1, 5)}


RATES = st.lists(st.integers(0, 20), min_size=1, max_size=3)


@given(RATES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 8), st.integers(1, 12))
def test_the_best_number_of_attempts_is_that_of_the_statistics(
    rates: list[int], completeness: int, soundness: int, cost: int, most: int
) -> None:
    kinds = read_kinds(", ".join(f"{rate}/20*1/{len(rates)}" for rate in rates))
    check = check_of(completeness / 20, soundness / 20)
    found = best_number(kinds, check, cost, most)
    verifier = Verifier(completeness / 20, soundness / 20)
    best = best_attempts([r / 20 for r in rates], None, verifier, fluke=-float(cost), most=most)

    def value(attempts: int) -> Fraction:
        """The definition, written out."""
        total = Fraction(0)
        for kind in kinds:
            right = check.completeness * kind.rate
            wrong = (1 - check.soundness) * (1 - kind.rate)
            total += sum(
                (kind.prior * (1 - right - wrong) ** k * (right - cost * wrong) for k in range(attempts)), Fraction(0)
            )
        return total

    assert all(value(found) >= value(k) for k in range(most + 1))
    assert float(value(found)) == pytest.approx(best.value, abs=1e-9)


def test_the_published_example_and_its_ceiling() -> None:
    """Rates .87 and .13 of 58% and 42% of problems, c = 1, s = .75: best K is 3, 2, 1 at costs of .7, 1, 2."""
    kinds, check = read_kinds("0.87*0.58, 0.13*0.42"), check_of(1.0, 0.75)
    assert [best_number(kinds, check, cost, 100) for cost in (0.7, 1.0, 2.0)] == [3, 2, 1]
    single = read_kinds("0.13")
    for attempt in (1, 5):
        chance = chance_right(single, check, attempt)
        assert chance is not None
        assert float(chance) == pytest.approx(ceiling([0.13], None, Verifier(1.0, 0.75)))
    first, tenth = chance_right(kinds, check, 1), chance_right(kinds, check, 10)
    assert first is not None
    assert tenth is not None
    assert first > tenth, "what is still open is hard"
    assert chance_right(read_kinds("0"), check_of(1.0, 1.0), 1) is None


@pytest.mark.parametrize("text", ["often", "1/0", "0.5*half", "0.5, "])
def test_rates_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(ParameterError, match=r"^rates must (have a form|lie in)") as raised:
        read_kinds(text)
    assert repr(text)[:60] in str(raised.value)


def test_a_bound_ends_the_attempts_and_gives_the_confidence() -> None:
    values: dict[str, Any] = {"rates": "0.87*0.58, 0.13*0.42", "soundness": 0.75, "fluke": 1.0, "threshold": 0.5}
    answer = played("resample_until_verified", Oracle([0, 0, 0, 0]), n=9, **values)
    assert (answer.answer, answer.details["attempts"], answer.details["limit"]) == ("a", 2, 2)
    answer = played("resample_until_verified", Oracle([1]), n=9, **values)
    assert answer.answer == "b"
    kinds, check = read_kinds(values["rates"]), check_of(1.0, 0.75)
    assert answer.confidence == pytest.approx(float(chance_right(kinds, check, 1) or 0))
    never = played("resample_until_verified", Oracle(), n=9, rates="0.1", soundness=0.5, fluke=4.0)
    assert (never.answer, never.details["attempts"]) == (None, 0)
    for wrong in ("x", "0.5*0.4", "1.5", "0.5, 0.5", "1/0"):
        with pytest.raises(ParameterError, match="rates"):
            played("resample_until_verified", Oracle(), rates=wrong)


# Selection by length and by words


def test_last_finish_goes_from_the_longest_to_the_majority() -> None:
    for k, letters in [(1, 3), (2, 2)]:
        expected = law(lambda oracle: _among_complete(oracle, letters, k))  # noqa: B023
        assert law_of_answers("last_finish", letters, n=2, k=k) == expected
    with pytest.raises(ParameterError, match=r"k must be at most n \(3\), got 4"):
        played("last_finish", Oracle(), n=3, k=4)


def _among_complete(oracle: Oracle, letters: int, k: int) -> str | None:
    """The definition: the majority of the k longest of two that came to an end with an answer; else of both."""
    player = Player(MarkovBackend(), oracle, letters)
    states = [player._extend(Extend(PROBLEM.start)) for _ in range(2)]
    ended = [state for state in states if state.why == "end" and PROBLEM.answer(state) is not None]
    longest = sorted(ended, key=lambda state: -state.length)[:k]
    return majority(PROBLEM.answers(longest or states))


def test_length_votes_are_weighted_by_a_power_of_the_length() -> None:
    assert law_of_answers("length_vote", 2, n=3, exponent=0.0) == law_of_votes(3, majority)
    seen = 0
    texts = len(pieces(MarkovBackend().chain, 3, "\0", "", 0))
    for path in itertools.product(range(0, texts, 3), repeat=2):
        player = JudgingPlayer(Oracle(path), 3, silence)
        answer = player.play(find("length_vote")(PROBLEM, n=2, exponent=2.0), PROBLEM)
        votes: Counter[str] = Counter()
        for state in player.written:
            if (named := PROBLEM.answer(state)) is not None:
                votes[named] += 1 / power(len(state.tokens), 2.0)  # type: ignore[assignment]
        assert answer.votes == pytest.approx(dict(votes))
        seen += len(votes) == 2
    assert seen


def test_marker_votes_leave_out_texts_that_doubt() -> None:
    pattern = marker_pattern("wait, let me check, hm")
    assert marker_rate("Wait, let me CHECK: waiting await hmm", pattern) == Fraction(2000, 7)
    assert marker_rate("", pattern) == 0
    with pytest.raises(ParameterError, match="markers"):
        marker_pattern(" , ")

    def reply(prompt: str, text: str, place: int) -> str:
        return ["Maybe 41", "Wait, perhaps 41", "It is 42", "perhaps 41"][place]

    assert solve("marker_vote", reply, n=4, share=0.25)[0].answer == "42"
    assert solve("marker_vote", reply, n=4, share=1.0)[0].answer == "41"
    assert law_of_answers("marker_vote", 2, n=3, share=0.5) == law_of_votes(3, majority)


def test_no_thinking_chosen_by_certainty_is_self_certainty_behind_a_prefill() -> None:
    player = JudgingPlayer(Oracle([2, 1, 0]), 2, silence)
    steps = find("no_thinking_certain")(PROBLEM, n=3, p=0.0, vocabulary=26, prefill="")
    assert player.play(steps, PROBLEM).answer == majority(PROBLEM.answers(player.written))
    certain = JudgingPlayer(Oracle([2, 1, 0]), 2, silence)
    plain = JudgingPlayer(Oracle([2, 1, 0]), 2, silence)
    one = certain.play(find("no_thinking_certain")(PROBLEM, n=3, p=2.0, vocabulary=26, prefill="$"), PROBLEM)
    other = plain.play(find("self_certainty")(PROBLEM, n=3, p=2.0, vocabulary=26), PROBLEM)
    assert one.details == other.details
    assert all(state.text.startswith("$") for state in certain.written)
    assert END == "$"
