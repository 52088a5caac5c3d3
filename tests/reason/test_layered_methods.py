"""Think-and-Execute, Archon, CoT-decoding, TrimR and step guidance: their laws, by enumeration and scripts."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Piece, Problem, State, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.methods.archon import Layer, read_layers, read_ranking
from intact.reason.methods.cot_decoding import answer_span, confidence, margins
from intact.reason.testing.enumeration import Oracle, law
from intact.reason.testing.toy import MarkovBackend
from support.judging import (
    FIRST,
    PROBLEM,
    JudgingPlayer,
    law_of_answers,
    law_of_votes,
    law_with_draws,
    majority,
    solve,
)
from support.script import ScriptBackend

# Think-and-Execute


def test_think_and_execute_simulates_the_code_that_was_written_or_given(tmp_path: Path) -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "print(6 * 7)" if "pseudocode" in prompt else f"so {42 if 'print' in prompt else 41}"

    answer, backend = solve("think_and_execute", reply, n=1)
    assert (answer.answer, answer.details["code"], len(backend.asked)) == ("42", "print(6 * 7)", 2)
    (tmp_path / "code.txt").write_text("given")
    _, backend = solve("think_and_execute", reply, n=2, code=str(tmp_path / "code.txt"), execute="{code}:{question}")
    assert backend.asked == ["given:6 * 7?"] * 2


def test_simulations_vote() -> None:
    found = law_with_draws("think_and_execute", n=2, execute="x")
    assert found == law_of_votes(2, majority)


# Archon


@given(st.permutations([0, 1, 2, 3]), st.integers(0, 4))
def test_a_ranking_is_a_permutation_that_begins_with_what_was_named(order: list[int], named: int) -> None:
    text = "so\n**Ranking:** " + " > ".join(str(place + 1) for place in order[:named])
    found = read_ranking(text, 4)
    if not named:
        assert found is None
    else:
        assert found is not None
        assert found[:named] == order[:named]
        assert sorted(found) == [0, 1, 2, 3]


def test_layers_follow_the_rules() -> None:
    assert read_layers("generate 4, critique,rank 2, fuse 1") == [
        Layer("generate", 4), Layer("critique", 0), Layer("rank", 2), Layer("fuse", 1)
    ]  # fmt: skip
    for wrong in (
        "fuse 1", "generate", "generate 2, generate 2", "generate 2, critique", "generate 2, critique, verify",
        "generate 2, tests", "generate 2, run", "generate 2, tests, fuse 1", "generate 2, tests, rank 1, run",
        "generate 2, dream", "", "generate 2.5", "generate 999999",
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            read_layers(wrong)


def test_generators_alone_are_the_vote_and_two_fusions_a_mixture_of_agents() -> None:
    assert law_of_answers("archon", layers="generate 3") == law_of_votes(3, majority)
    votes, silent = law_of_votes(2, majority), FIRST[None]
    mixture = law_with_draws("mixture_of_agents", n=2, layers=3)
    assert mixture == {name: chance * silent + FIRST[name] * (name is not None) for name, chance in votes.items()}
    # Two fusions without an answer leave the texts that they were made of.
    votes = {name: chance * (name is not None) + votes[None] * chance for name, chance in votes.items()}
    found = law_with_draws("archon", layers="generate 2, fuse 2, fuse 1")
    assert found == {name: chance * silent + FIRST[name] * (name is not None) for name, chance in votes.items()}


def archon_judge(prompt: str) -> str:
    if "strengths" in prompt:
        return "fine"
    if "Rank them" in prompt:
        listed = re.findall(r"Answer (\d+):\n(.)", prompt)
        assert prompt.count("A critic says:\nfine") in (0, len(listed))
        return "Ranking: " + " > ".join(number for number, _ in sorted(listed, key=lambda one: one[1] != "b"))
    if "Verdict" in prompt:
        return f"Verdict: {'Yes' if re.search(r'^b$', prompt, re.MULTILINE) else 'No'}"
    return "a"


@pytest.mark.parametrize("layers", ["generate 3, critique, rank 1", "generate 3, rank 1", "generate 3, verify"])
def test_good_judges_find_the_right_answer(layers: str) -> None:
    def right(answers: list[str | None]) -> str | None:
        if "b" in answers:
            return "b"
        return majority(answers) if "verify" in layers else answers[0]

    assert law_of_answers("archon", judge=archon_judge, layers=layers) == law_of_votes(3, right)


@pytest.mark.parametrize(
    ("layers", "kept"), [("run", ["a - a", "0 * a"]), ("run 1", ["a - a"]), ("run 3", ["a - a", "0 * a", "a"])]
)
def test_programs_that_pass_most_tests_are_kept(layers: str, kept: list[str]) -> None:
    """Of four programs two pass both tests, one passes one, and one none, which prints a number of its own."""
    bodies = ["a", "a - a", "print(9)", "0 * a"]
    problem = Problem("p", "zero?", lambda text: text.partition("Program:\n")[2] or None)
    asked: list[str] = []

    def reply(prompt: str, text: str, place: int) -> str:
        asked.append(prompt)
        if "unit tests" in prompt:
            return "Tests:\n  assert f(0) == 0\nassert f(1) == 0\nassert f(0) == 0\nassert f(2) == 0"
        if prompt == "zero?":
            return f"Program:\ndef f(a): return {bodies[place]}"
        return "Program:\n" + "|".join(re.findall(r"return (.*)", prompt))

    driver = Driver({"main": ScriptBackend(reply)}, sampling={"max_tokens": 400})
    values = {"layers": f"generate 4, tests 2, {layers}, fuse 1", "tool": "python"}
    ((_, result),) = driver.solve([MethodJob(find("archon"), problem, values)])
    assert result.why == "done", result.error
    assert result.answer.answer == "|".join(kept)
    assert "Write 2 unit tests" in asked[4]


def test_unit_tests_that_cannot_be_read_leave_all_texts_and_none_run_without_a_tool() -> None:
    layers = "generate 3, tests, run"
    found = law_of_answers("archon", judge=lambda _: "none", layers=layers, tool="python")
    assert found == law_of_votes(3, majority)
    with pytest.raises(ParameterError, match="tool=python"):
        law_of_answers("archon", layers=layers)


def test_a_program_that_takes_names_of_the_language_is_counted_as_any_other() -> None:
    problem = Problem("p", "zero?", lambda text: text.partition("Program:\n")[2] or None)
    names = "dict = exec = globals = print = io = contextlib = Exception = int = len = None"

    def reply(prompt: str, text: str, place: int) -> str:
        if "unit tests" in prompt:
            return "assert f(0) == 0\nassert f(1) == 0"
        return f"Program:\n{names}\ndef f(a): return 0" if place else "Program:\ndef f(a): return a"

    driver = Driver({"main": ScriptBackend(reply)}, sampling={"max_tokens": 400})
    values = {"layers": "generate 2, tests, run 1", "tool": "python"}
    ((_, result),) = driver.solve([MethodJob(find("archon"), problem, values)])
    assert result.answer.answer.startswith("dict")


def test_a_program_that_no_tool_takes_passes_nothing_and_unit_tests_need_python() -> None:
    problem = Problem("p", "zero?", lambda text: text.partition("Program:\n")[2] or None)

    def reply(prompt: str, text: str, place: int) -> str:
        if "unit tests" in prompt:
            return "assert f(0) == 0"
        return f"Program:\n{'#' * 70_000 if not place else 'def f(a): return 0'}"

    driver = Driver({"main": ScriptBackend(reply)}, sampling={"max_tokens": 80_000})
    values = {"layers": "generate 2, tests, run 1", "tool": "python"}
    ((_, result),) = driver.solve([MethodJob(find("archon"), problem, values)])
    assert (result.why, result.answer.answer) == ("done", "def f(a): return 0")
    with pytest.raises(ParameterError, match="tool=python"):
        law_of_answers("archon", layers="generate 2, tests, run", tool="calculator")


def test_what_the_budget_leaves_of_the_layers_is_in_the_details() -> None:
    answer, _ = solve("archon", lambda *_: "42", budget=Budget(tokens=4 * 3 + 1))
    assert (answer.answer, answer.details["layers"]) == ("42", 1)


# CoT-decoding


def greedy(words: list[tuple[str, float, float]]) -> State:
    """A text of words with the chances of each and of its second."""

    def units(p: float) -> int:
        return round(math.log(p) * LOGPROB_SCALE)

    top = tuple(((word, units(p)), ("?", units(q))) for word, p, q in words)
    text = "".join(word for word, _, _ in words).replace("$", "")
    piece = Piece(text, tuple(range(len(words))), tuple(place[0][1] for place in top), top, "")
    return State("q", ("p",), (Piece("So", special=False), piece), "end")


def test_the_margin_is_the_mean_over_the_tokens_of_the_last_answer() -> None:
    words = [(" 42", 0.9, 0.05), (" no", 0.5, 0.4), (" 4", 0.6, 0.3), ("2", 0.8, 0.1), (".", 0.99, 0.01)]
    state = greedy([*words, ("$", 0.7, 0.1)])
    assert margins(state) == pytest.approx([0.85, 0.1, 0.3, 0.7, 0.98, 0.6], abs=1e-6)
    assert answer_span(state, "42") == range(2, 4)
    assert answer_span(state, "43") == range(6)
    problem = Problem("p", "q", read=lambda text: "42" if "42" in text else None)
    assert confidence(problem, state) == pytest.approx(0.5, abs=1e-6)
    assert confidence(problem, greedy([("none", 0.9, 0.1)])) == 0


def margin_by_hand(backend: MarkovBackend, text: str) -> float:
    """At the last place behind the first letter where that is written again, or over all places."""
    found = []
    for i in range(1, min(4, len(text) + 1)):
        first, second = sorted(backend.distribution(text[:i]).values(), reverse=True)[:2]
        found.append(float(first - second))
    again = text.rfind(text[0], 1)
    return found[again - 1] if again > 0 else sum(found) / len(found)


def test_cot_decoding_begins_with_the_likeliest_tokens_and_goes_on_greedily() -> None:
    """By hand: behind each first letter, the likeliest next letters of the chain."""
    problem = Problem("p", "ask", read=lambda text: text[0] if text else None)
    backend = MarkovBackend()
    driver = Driver({"toy": backend}, sampling={"max_tokens": 3})
    for k in (1, 2, 3):
        ((_, result),) = driver.solve([MethodJob(find("cot_decoding"), problem, {"k": k})])
        assert result.why == "done", result.error
        texts = [node["appended"] + node["text"] for node in result.trace["nodes"] if "appended" in node]
        begun = [letter for letter, _ in backend.top("", k)]
        expected = []
        for letter in begun:
            text = letter
            for _ in range(3):
                following, _ = backend.top(text, 1)[0]
                if following == "$":
                    break
                text += following
            expected.append(text)
        assert texts == expected
        assert result.answer.details["margins"] == pytest.approx([margin_by_hand(backend, text) for text in texts])
    with pytest.raises(ParameterError):
        find("cot_decoding")(problem, k=21)


def test_cot_decoding_begins_with_no_empty_or_broken_token() -> None:
    problem = Problem("p", "ask", read=lambda text: text[:1] or None)
    steps = find("cot_decoding")(problem, k=4)
    first = next(steps)
    top = (((text, -1 << 24) for text in ("a", "", "\ufffd", "b\ufffd")),)
    written = State("ask", ("p", 0), (Piece("a", (1,), (-1 << 24,), top=tuple(map(tuple, top)), model=""),), "length")
    assert first.top_logprobs == 4
    asked = steps.send(written)
    assert [one.state.text for one in asked] == ["a"]


# TrimR


def test_trimr_stops_when_answers_agree() -> None:
    """Steps say 1, 2, 42, 42, 42, ...: after three equal ones it is over, after five with five."""
    said = ["1", "2", "42", "42", "42", "42", "42", "42"]

    def reply(prompt: str, text: str, place: int) -> str:
        if text.endswith("Answer:"):
            return " " + said[text.count(";") - 1]
        return f"step {'x' * text.count(';')};\n\nmore…"

    for agree, looked in [(1, 1), (2, 4), (3, 5)]:
        answer, backend = solve("trimr", reply, agree=agree, steps=8)
        assert answer.details["turns"] == [said[:looked]]
        assert answer.answer == said[looked - 1]
        assert len(backend.asked) == 2 * looked
    answer, _ = solve("trimr", reply, agree=9, steps=4)
    assert (answer.answer, answer.details["turns"]) == ("42", [said[:4]])


def test_trimr_ends_thoughts_in_circles_and_keeps_texts_that_end() -> None:
    def circle(prompt: str, text: str, place: int) -> str:
        return f" {40 + text.count('so')}" if text.endswith("Answer:") else "so\n\nmore…"

    answer, backend = solve("trimr", circle, agree=3)
    assert (answer.answer, answer.details["turns"], len(backend.asked)) == ("42", [["41"]], 4)
    answer, _ = solve("trimr", lambda *_: "\n\nmore…", agree=9, steps=3)
    assert len(answer.details["turns"][0]) == 3, "empty steps are no circle"
    answer, backend = solve("trimr", lambda prompt, text, place: "It is 42.", agree=3)
    assert (answer.answer, len(backend.asked)) == ("42", 1)


# Step guidance


def test_step_guidance_asks_answers_and_writes_until_it_is_finished() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        kind, _, rest = prompt.partition(":")
        match kind:
            case "ask":
                return f"what after {rest}?"
            case "guide":
                return "multiply"
            case "step":
                return "Done." if "42" in rest else "6 * 7 = 42"
        return "So it is 42." if "6 * 7 = 42" in text else "41"

    prompts = {
        "ask": "ask:{solution}",
        "guide": "guide:{inquiry}",
        "step": "step:{solution} {guidance} {finished}",
        "finished": "Done.",
    }
    answer, backend = solve("step_guidance", reply, **prompts)
    nothing = "(nothing yet)"
    assert backend.asked == [
        f"ask:{nothing}", f"guide:what after {nothing}?", f"step:{nothing} multiply Done.",
        "ask:6 * 7 = 42", "guide:what after 6 * 7 = 42?", "step:6 * 7 = 42 multiply Done.",
        "6 * 7?",
    ]  # fmt: skip
    assert (answer.answer, answer.details["steps"]) == ("42", 1)


def test_step_guidance_with_steps_of_nothing_is_chain_of_thought() -> None:
    def run(oracle: Oracle) -> str | None:
        player = JudgingPlayer(oracle, 1, lambda _: "The solution is complete.")
        answer: str | None = player.play(find("step_guidance")(PROBLEM), PROBLEM).answer
        return answer

    assert law(run) == FIRST
