"""Methods that write text and code by turns, by replies written out: what is run, and what the model reads of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import SandboxError
from intact.evaluate.samples import turns_of, verdicts_of
from intact.numerics.sampling import LOGPROB_SCALE, branch_key, uniform64
from intact.reason import Problem, Result, State, find
from intact.reason.backends.base import Generation, Written
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.hypothesis_search import Examples, literal_of
from intact.reason.parts.interpreting import WITH_BLOCK, block_of
from intact.reason.testing.toy import END
from intact.tasks.score.available import check_method
from intact.tasks.score.scorers import find_scorer
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
    backend.context = 10_000
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


@pytest.mark.parametrize(
    "name", ["interleaved_code", "code_verification", "hypothesis_search", "collaborative_verification"]
)
def test_where_nothing_keeps_programs_in_it_is_said_before_a_token(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    with pytest.raises(SandboxError, match="no protection against untrusted code"):
        check_method(find(name), {}, untrusted=True)


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
        return "```python\nx = 1\ny = x << 10**7\n```\n"  # an integer so large takes all steps

    result, _ = solve("interleaved_code", reply, n=1)
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


def checking(first: str, verdict: str, second: str = "It is 17.") -> Reply:
    """Solve by `first`, print `verdict`; solve again by `second`, print True."""

    def reply(prompt: str, text: str, place: int) -> str:
        if text.endswith("```python\n"):
            said = "True" if "solve the problem again" in text else verdict
            return f"print({said!r})\n```\nThe end.…"
        return second if "solve the problem again" in text else first

    return reply


@sandboxed
def test_a_solution_that_is_verified_stays() -> None:
    result, backend = solve("code_verification", checking("It is 17.", "True"), n=1)
    assert (result.answer.answer, result.answer.details["turns"]) == ("17", [["17"]])
    ((branch, verdicts),) = verdicts_of(result.trace["nodes"], "csv", result.answer.details).items()
    assert [(one.by, one.value) for one in verdicts] == [("csv", 1.0)]
    assert 0 < verdicts[0].tokens < result.cost.tokens
    assert branch == "/".join(map(str, result.answer.chosen.branch))
    assert (len(backend.asked), result.cost.runs) == (2, 1)
    assert result.answer.chosen is not None
    assert result.answer.chosen.text.endswith("```python\nprint('True')\n```\n```output\nTrue\n```\n")


@sandboxed
def test_a_solution_that_is_found_wrong_is_amended_and_verified_again() -> None:
    result, backend = solve("code_verification", checking("It is 42.", "False"), n=1)
    assert (result.answer.answer, result.answer.details["printed"]) == ("17", ["True"])
    assert turns_of(result.answer.details) == [["42", "17"]]
    ((one,),) = [verdicts_of(result.trace["nodes"], "csv", result.answer.details).values()]
    assert [verdict.value for verdict in one] == [0.0, 1.0]
    assert (len(backend.asked), result.cost.runs) == (4, 2)
    kept, _ = solve("code_verification", checking("It is 42.", "False"), n=1, amendments=0)
    assert (kept.answer.answer, kept.answer.details["printed"]) == ("42", ["False"])
    silent, _ = solve("code_verification", checking("It is 42.", "False", "I do not know."), n=1)
    assert (silent.answer.answer, silent.answer.details["printed"]) == ("42", ["False"])


@sandboxed
def test_amendments_are_limited() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "print(False)\n```\n" if text.endswith("```python\n") else "It is 3."

    result, backend = solve("code_verification", reply, n=1, amendments=3)
    assert (turns_of(result.answer.details), result.answer.details["printed"]) == ([["3"] * 4], ["False"])
    assert len(backend.asked) == 8


@sandboxed
@pytest.mark.parametrize("said", ["'maybe'", "1 / 0", "'Uncertain'"])
def test_what_is_no_verdict_is_uncertain_and_ends_the_text(said: str) -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return f"print({said})\n```\n" if text.endswith(("```python\n", "```\n")) else "It is 3."

    result, _ = solve("code_verification", reply, n=1, repairs=0)
    assert result.answer.details["printed"] == ["Uncertain"]


@sandboxed
def test_answers_weigh_by_their_last_verdicts() -> None:
    """Score(a) = sum over v of w_v times the texts that end in a with v."""
    ends = [("1", "True"), ("2", "False"), ("2", "False"), ("2", "Uncertain"), ("3", "True"), ("3", "Uncertain")]

    def reply(prompt: str, text: str, place: int) -> str:
        answer = re.search(r"It is (.)", text)
        if answer is None:
            return f"It is {place + 1}."
        return f"print({dict(enumerate(ends))[int(answer[1]) - 1][1]!r})\n```\n"

    def read(text: str) -> str | None:
        found = re.search(r"It is (.)", text)
        return None if found is None else ends[int(found[1]) - 1][0]

    problem = Problem("p", (("user", QUESTION),), read)
    driver = Driver({"main": ScriptBackend(reply)}, sampling={"max_tokens": 400})
    parameters = {"n": 6, "amendments": 0, "right": 1.0, "uncertain": 0.5, "wrong": 0.25}
    ((_, result),) = driver.solve([MethodJob(find("code_verification"), problem, parameters)])
    assert dict(result.answer.votes) == {"3": 1.5, "1": 1.0, "2": 1.0}
    driver = Driver({"main": ScriptBackend(reply)}, sampling={"max_tokens": 400})
    nothing = parameters | {"right": 0.0, "uncertain": 0.0, "wrong": 0.0}
    ((_, result),) = driver.solve([MethodJob(find("code_verification"), problem, nothing)])
    assert dict(result.answer.votes) == {"2": 3.0, "3": 2.0, "1": 1.0}


RULES = """Find the rule.
Examples:
Input 1: [3, 1]
Output 1: [1, 3]
Input 2: [5, 9, 2]
Output 2: [2, 5, 9]

Input: [8, 7]
Output:
"""


def search(reply: Reply, text: str = RULES, **parameters: Any) -> tuple[Result, ScriptBackend]:
    backend = ScriptBackend(reply)
    driver = Driver({"main": backend}, sampling={"max_tokens": 800})
    problem = Problem("p", (("user", text),), lambda found: found.strip() or None)
    ((_, result),) = driver.solve([MethodJob(find("hypothesis_search"), problem, parameters)])
    return result, backend


def test_examples_are_read_from_the_question() -> None:
    found = Examples.of(RULES)
    assert found == Examples((("[3, 1]", "[1, 3]"), ("[5, 9, 2]", "[2, 5, 9]")), "[8, 7]")
    grid = Examples.of("Example 1:\nInput:  1 2\nOutput: 2 1\n\nWords.\n\nInput:\n3 4\n")
    assert grid == Examples((("1 2", "2 1"),), "3 4")
    assert Examples.of("No examples.") == Examples((), None)
    assert Examples.of("Input: 1\nOutput: 2") == Examples((("1", "2"),), None)
    assert Examples.of("Input: a\nInput: b\nOutput: c") == Examples((("b", "c"),), None)
    assert (literal_of("[1, 2]"), literal_of("1 2"), literal_of("'a'")) == ("[1, 2]", "'1 2'", "'a'")


@sandboxed
def test_programs_that_get_all_examples_right_answer() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "State in one or two sentences" in prompt:
            return ["It is sorted.", "It is reversed."][place]
        body = "sorted(x)" if "It is sorted." in prompt else "x[::-1]"
        return f"def transform(x):\n    print('noise')\n    return {body}\n```"

    result, backend = search(reply, n=2, programs=2)
    assert (result.answer.answer, dict(result.answer.votes)) == ("[7, 8]", {"[7, 8]": 2.0})
    assert result.answer.details == {"examples": 2, "passed": [2, 2, 1, 1]}
    assert (len(backend.asked), result.cost.runs) == (2 + 4, 4)
    assert "Its inputs are such as [3, 1]." in backend.asked[2]


@sandboxed
def test_a_program_that_fails_an_example_is_written_again_with_what_it_gave() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if "It does not:" in prompt:
            return "def transform(x):\n    return sorted(x)\n```"
        return "Swap." if "State in one" in prompt else "def transform(x):\n    return x[::-1]\n```"

    result, backend = search(reply, n=1, programs=1, rounds=2)
    assert (result.answer.answer, result.answer.details["passed"]) == ("[7, 8]", [1, 2])
    assert "transform([5, 9, 2]) gives [2, 9, 5], and should give [2, 5, 9]" in backend.asked[2]
    assert "transform([3, 1])" not in backend.asked[2]
    none, backend = search(reply, n=1, programs=1, rounds=0)
    assert (none.answer.answer, len(backend.asked)) == ("[7, 8]", 2)


@sandboxed
def test_programs_that_fail_or_never_end_get_no_example_right() -> None:
    bodies = ["    return undefined", "    while True:\n        pass", "    return x.pop(9)"]

    def reply(prompt: str, text: str, place: int) -> str:
        return "A rule." if "State in one" in prompt else f"def transform(x):\n{bodies[place]}\n```"

    result, _ = search(reply, n=1, programs=3, rounds=0, seconds=1.0)
    assert (result.answer.answer, result.answer.details["passed"]) == (None, [0, 0, 0])


def collaborate(solutions: list[str], programs: dict[str, str], **parameters: Any) -> tuple[Result, ScriptBackend]:
    """Solve by these texts; the program of a solution is the one whose key stands in it."""

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return solutions[place]
        return next(code for key, code in programs.items() if key in prompt) + "\n```"

    return solve("collaborative_verification", reply, n=len(solutions), **parameters)


@sandboxed
def test_solutions_whose_programs_answer_otherwise_are_dropped() -> None:
    solutions = ["It is surely and quickly 11.", "It is 17.", "I add and get 11.", "So 17!"]
    programs = {"surely": "print(17)", "It is 17": "print(17.0)", "I add": "1 / 0", "So": "print('17 fruits')"}
    result, backend = collaborate(solutions, programs)
    assert result.answer.answer == "17"
    assert result.answer.details["printed"] == ["17", "0", None, "17"]  # this reader takes the last digits
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == "So 17!"
    assert (result.cost.runs, result.cost.scores, len(backend.asked)) == (4, 1, 8)


class Shortest:
    """Scores a text by its length."""

    name, digest = "shortest", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [-float(len(state.text)) for state in states]


@sandboxed
def test_of_those_that_agree_the_scorer_takes_the_best() -> None:
    solutions = ["A long way to 12.", "A way to 17.", "12!", "5"]
    programs = {"long": "print(12)", "A way": "print(17)", "12!": "print(12)", "5": "print(6)"}
    result, _ = collaborate(solutions, programs, scorer=Shortest())
    assert result.answer.chosen is not None
    assert (result.answer.chosen.text, result.cost.scores) == ("12!", 3)


@sandboxed
def test_where_no_program_agrees_all_solutions_vote() -> None:
    solutions = ["First 11.", "Second 17.", "Third 17.", "Nothing."]
    result, backend = collaborate(solutions, {"": "print(5)"})
    assert (dict(result.answer.votes), result.cost.scores) == ({"17": 2.0, "11": 1.0}, 0)
    assert len(backend.asked) == 4 + 3
    spent, _ = collaborate(solutions, {"": "print(5)"}, budget=Budget(runs=0))
    assert spent.answer.answer == "17"
