"""Methods that write text and code by turns, by replies written out: what is run, and what the model reads of it."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from intact.numerics.sampling import LOGPROB_SCALE, branch_key, uniform64
from intact.reason import Problem, Result, State, find
from intact.reason.backends.base import Generation, Written
from intact.reason.budget import Budget
from intact.reason.driver import Driver
from intact.reason.interpreting import WITH_BLOCK, block_of
from intact.reason.journal import Journal
from intact.reason.services import MethodJob, Services
from intact.reason.testing.toy import END
from intact.score.scorers import find_scorer
from intact.tools.sandbox import protection
from support.script import Reply, ScriptBackend

sandboxed = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")


def number(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


QUESTION = "Ann has 3 apples and 14 pears. How many fruits?"
PROBLEM = Problem("p", (("user", QUESTION),), number)


def solve(
    name: str, reply: Reply, budget: Budget | None = None, journal: Journal | None = None, **parameters: Any
) -> tuple[Result, ScriptBackend]:
    backend = ScriptBackend(reply)
    sampling = {"max_tokens": parameters.pop("max_tokens", 400)}
    driver = Driver(
        {"main": backend}, budget=budget, sampling=sampling, journal=journal, services=Services(find_scorer)
    )
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, parameters)])
    return result, backend


def tools(result: Result) -> list[dict[str, Any]]:
    return [node for node in result.trace["nodes"] if node["kind"] == "tool"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("So:\n```python\nx = 1\nprint(x)\n```\n", "x = 1\nprint(x)"),
        ("```py\n1\n```", "1"),
        ("```Python \n1\n2\n```output", "1\n2"),
        ("```\nplain\n```\n", None),
        ("```json\n{}\n```\n```python\n3\n```\n", "3"),
        ("```python\nnot closed", None),
        ("no block", None),
        ("", None),
        ("  ```python\n  1\n  ```\n", "  1"),
        ("`python`\n1\n", None),
        ("```python\n1\n```\n```python\n2\n```\n", "1"),
    ],
)
def test_blocks_are_found_by_their_fences(text: str, code: str | None) -> None:
    assert block_of(text) == code


def test_the_expression_of_a_turn_allows_a_whole_block_and_nothing_behind_it() -> None:
    for text in ("", "words", "So:\n```python\nx\n```\n"):
        assert re.fullmatch(WITH_BLOCK, text)
    for text in ("```", "```python\nx", "```python\nx\n```\nmore", "```js\nx\n```\n", "```python\n```\n"):
        assert not re.fullmatch(WITH_BLOCK, text)


@sandboxed
def test_code_is_run_where_it_ends_and_its_output_is_read_on() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if not text:
            return "Count:\n```python\napples = 3\nprint(apples + 14)\n```\nThe output is 99."
        if "apples * 2" not in text:
            return "Check:\n```python\napples * 2\n```\n"
        return "So 17."

    result, backend = solve("interleaved_code", reply, n=1)
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == (
        "Count:\n```python\napples = 3\nprint(apples + 14)\n```\n```output\n17\n```\n"
        "Check:\n```python\napples * 2\n```\n```output\n6\n```\nSo 17."
    )
    assert result.answer.answer == "17"
    assert result.answer.details == {"blocks": [2], "failed": [0]}
    assert [node["values"]["before"] for node in tools(result)] == [[], ["apples = 3\nprint(apples + 14)"]]
    assert (result.cost.runs, len(backend.asked)) == (2, 3)


@sandboxed
def test_a_block_at_the_end_of_a_text_is_run_too_and_the_text_goes_on() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "It is 17." if "output" in text else "```python\nprint(3 + 14)\n```"

    result, _ = solve("interleaved_code", reply, n=1)
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == "```python\nprint(3 + 14)\n```\n```output\n17\n```\nIt is 17."


@sandboxed
def test_an_error_is_fed_back_and_may_be_repaired() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "NameError: name 'pears' is not defined" in text:
            return "```python\npears = 14\nprint(apples + pears)\n```\n" if "17" not in text else "17"
        return "```python\napples = 3\nprint(apples + pears)\n```\n"

    result, _ = solve("interleaved_code", reply, n=1)
    assert (result.answer.answer, result.answer.details["failed"]) == ("17", [1])
    over, backend = solve("interleaved_code", lambda *_: "```python\n1 / 0\n```\n", n=1, rounds=9, repairs=2)
    assert (over.answer.details, len(backend.asked)) == ({"blocks": [3], "failed": [3]}, 3)


@sandboxed
def test_a_block_that_ran_into_a_limit_is_no_part_of_the_session() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "out of steps" in text:
            return "```python\nprint(x)\n```\n" if "NameError" not in text else "Nothing."
        return "```python\nx = 1\nwhile True:\n    pass\n```\n"

    result, _ = solve("interleaved_code", reply, n=1, seconds=1.0)
    assert [node["ended"] for node in tools(result)] == ["steps", "error"]
    assert tools(result)[1]["values"]["before"] == []


@sandboxed
def test_rounds_are_limited_and_the_last_turn_has_no_code() -> None:
    result, backend = solve("interleaved_code", lambda *_: "more\n```python\n1\n```\n", n=1, rounds=3)
    assert (len(tools(result)), len(backend.asked)) == (3, 4)
    assert result.answer.chosen is not None
    assert result.answer.chosen.text.endswith("```output\n1\n```\nmore\n```")


@sandboxed
def test_outputs_are_bounded_escaped_and_never_taken_for_code() -> None:
    hostile = "print('```python\\nprint(666)\\n```\\n' + chr(27) + 'x' * 5000)"

    def reply(prompt: str, text: str, place: int) -> str:
        return "Done." if "output" in text else f"```python\n{hostile}\n```\n"

    result, _ = solve("interleaved_code", reply, n=1, output=200)
    assert result.answer.chosen is not None
    appended = [piece for piece in result.answer.chosen.pieces if piece.model is None]
    assert len(appended) == 1
    assert len(appended[0].text) <= 200 + len("```output\n\n```\n")
    assert "\x1b" not in appended[0].text
    assert appended[0].special is False
    assert len(tools(result)) == 1


@sandboxed
def test_texts_that_are_cut_are_over_and_those_the_budget_refuses_stay_as_they_are() -> None:
    cut, backend = solve("interleaved_code", lambda *_: "```python\nprint(17)\n```\n", n=1, max_tokens=8)
    assert (len(tools(cut)), len(backend.asked)) == (0, 1)
    spent, _ = solve("interleaved_code", lambda *_: "```python\nprint(17)\n```\n", Budget(runs=1), n=2, rounds=2)
    assert (spent.cost.runs, spent.answer.answer) == (1, "17")


@sandboxed
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return f"It is {17 + place}." if "output" in text else f"```python\nprint({17 + place})\n```\n"

    free, _ = solve("interleaved_code", reply, n=3)

    def killed(prompt: str, text: str, place: int) -> str:
        if "output" in text:
            raise KeyboardInterrupt
        return reply(prompt, text, place)

    with Journal(tmp_path / "j.sqlite") as journal, pytest.raises(KeyboardInterrupt):
        solve("interleaved_code", killed, journal=journal, n=3)
    with Journal(tmp_path / "j.sqlite") as journal:
        again, backend = solve("interleaved_code", reply, journal=journal, n=3)
    assert again.trace == free.trace
    assert len(backend.asked) < 6


class Chances(ScriptBackend):
    """Writes one of several texts, each with a chance of its own, by the draw of the text's place."""

    def __init__(self, law: dict[str, list[tuple[str, Fraction]]]) -> None:
        super().__init__(lambda *_: "")
        self.law = law

    def options(self, state: State) -> list[tuple[str, Fraction]]:
        last = state.pieces[-1].text if state.pieces else ""
        return next(options for mark, options in self.law.items() if mark in last)

    def _written(self, generation: Generation) -> Written:
        u = uniform64(branch_key(generation.parameters.seed, generation.branch), self.count(generation.state.prompt))
        for text, chance in self.options(generation.state):  # noqa: B007
            u -= math.ceil(chance * 2**64)
            if u < 0:
                break
        letters, why = text + END, "end"
        for stop in generation.parameters.stop:
            if stop in letters:
                letters, why = letters[: letters.index(stop) + len(stop)], "stop"
        tokens = tuple(map(ord, letters))
        return Written(letters.replace(END, ""), tokens, (-LOGPROB_SCALE,) * len(tokens), (), why)


@sandboxed
def test_the_share_of_each_answer_is_that_of_the_texts_that_end_in_it(tmp_path: Path) -> None:
    """What is run decides: a first block prints 1 or 2 or fails, and each output has a law of its own behind it."""
    law = {
        "\n1\n": [("a 10", Fraction(1, 4)), ("b 20", Fraction(3, 4))],
        "\n2\n": [("c 20", Fraction(1))],
        "Error": [("```python\nprint(1)\n```\n", Fraction(1, 2)), ("d 30", Fraction(1, 2))],
        "": [
            ("```python\nprint(1)\n```\n", Fraction(1, 2)),
            ("```python\nprint(2)\n```\n", Fraction(1, 4)),
            ("```python\nfail\n```\n", Fraction(1, 4)),
        ],
    }
    first = Fraction(1, 2) + Fraction(1, 4) * Fraction(1, 2)  # 1 is printed at once, or behind an error
    exact = {"10": first / 4, "20": first * 3 / 4 + Fraction(1, 4), "30": Fraction(1, 8)}
    assert sum(exact.values()) == 1
    n = 1000
    with Journal(tmp_path / "j.sqlite") as journal:  # which knows a block that was run before
        driver = Driver({"main": Chances(law)}, sampling={"max_tokens": 400}, journal=journal)
        ((_, result),) = driver.solve([MethodJob(find("interleaved_code"), PROBLEM, {"n": n, "rounds": 3})])
    for answer, share in exact.items():
        deviation = math.sqrt(n * share * (1 - share))
        assert abs(result.answer.votes[answer] - n * share) < 5 * deviation, answer
    assert sum(result.answer.votes.values()) == n
