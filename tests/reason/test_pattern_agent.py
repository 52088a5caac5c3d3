"""The agent workflow: its steps, patterns and tools by scripted texts, and what it is without steps."""

from __future__ import annotations

from typing import Any

import pytest

from intact.errors import ParameterError
from intact.reason import Problem, Use, find
from intact.reason.budget import Budget
from intact.reason.driver import Driver
from intact.reason.methods.pattern_agent import PATTERNS, PatternStep, read_step
from intact.reason.services import MethodJob
from intact.reason.testing.toy import MarkovBackend
from intact.reason.tool import ToolResult
from intact.run_receipts.versions import versions_of_method
from support.judging import PROBLEM, law_of_answers, requests, solve

PROMPTS: dict[str, Any] = {"plan": "plan:{domain}", "step": "step:{plan}|{solution}|{tool}|{finished}"}


@pytest.mark.parametrize(
    ("text", "pattern", "rest"),
    [
        ("Pattern: method reuse\n6 * 7 = 42", "method reuse", "6 * 7 = 42"),
        ("**Pattern:** Divide and Conquer.\nFirst the tens.\nThen the rest.", "divide and conquer",
         "First the tens.\nThen the rest."),
        ("pattern - emphasizing constraints\nAn integer.", "emphasised constraints", "An integer."),
        ("Pattern: guessing\n42", None, "42"),
        ("6 * 7 = 42\nPattern: method reuse", None, "6 * 7 = 42\nPattern: method reuse"),
        ("", None, ""),
    ],
)  # fmt: skip
def test_a_step_names_its_pattern_in_its_first_line(text: str, pattern: str | None, rest: str) -> None:
    assert read_step(text) == PatternStep(pattern, rest)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_tool_is_for_steps_that_calculate_or_check(pattern: str) -> None:
    step = read_step(f"Pattern: {pattern}\nSo:\n```python\n6 * 7\n```\n")
    assert step.pattern == pattern
    assert step.block == ("6 * 7" if pattern in ("method reuse", "self-refinement") else None)


def scripted(prompt: str, text: str, place: int) -> str:
    """Plan, split the problem, calculate by a tool, and be finished; the answer is what the tool gave."""
    kind, _, rest = prompt.partition(":")
    if kind == "plan":
        return "multiply"
    if kind == "step":
        _, solution, tool, finished = rest.split("|")
        if "6 and 7" not in solution:
            return "Pattern: divide and conquer\n6 and 7"
        if "product" not in solution:
            block = "Pattern: method reuse\nthe product\n```\n6 * 7\n```"
            return block if tool else "Pattern: self-refinement\nthe product"
        return finished
    return "so it is " + ("42" if "```output\n42\n```" in text else "41")


def test_the_agent_plans_writes_labelled_steps_uses_its_tool_and_answers() -> None:
    answer, backend = solve("pattern_agent", scripted, tool="calculator", domain="mathematics", **PROMPTS)
    assert answer.answer == "42"
    assert answer.details == {"plan": "multiply", "patterns": ["divide and conquer", "method reuse"], "uses": 1}
    assert [prompt.partition(":")[0] for prompt in backend.asked] == ["plan", "step", "step", "step", "6 * 7?"]
    assert "expert in mathematics" in backend.asked[0]
    assert backend.asked[1].startswith("step:multiply|(nothing yet)|\nA step of method reuse or self-refinement may")
    assert answer.chosen is not None
    assert answer.chosen.text == "6 and 7\n\nthe product\n```\n6 * 7\n```\n\n```output\n42\n```\n\nso it is 42"


def test_without_a_tool_none_is_offered() -> None:
    answer, backend = solve("pattern_agent", scripted, **PROMPTS)
    assert (answer.answer, answer.details["patterns"]) == ("41", ["divide and conquer", "self-refinement"])
    assert backend.asked[1] == "step:multiply|(nothing yet)||The solution is complete."


def test_later_blocks_of_python_find_what_earlier_ones_left() -> None:
    given = list[Any]()

    def serve(request: Any) -> Any:
        if isinstance(request, Use):
            given.append(request.values)
            return ToolResult("", "ok")
        return PROBLEM.start.append(f"Pattern: method reuse\n```python\nx{len(given)} = 1\n```", special=False)

    requests(find("pattern_agent")(PROBLEM, tool="python", steps=2), serve)
    assert given == [{"code": "x0 = 1", "before": []}, {"code": "x1 = 1", "before": ["x0 = 1"]}]


def test_a_block_that_ran_into_a_limit_does_not_run_again_with_later_ones() -> None:
    ends, given = iter(["steps", "error", "ok"]), list[Any]()

    def serve(request: Any) -> Any:
        if isinstance(request, Use):
            given.append(request.values["before"])
            return ToolResult("", next(ends))
        return PROBLEM.start.append(f"Pattern: method reuse\n```python\nx{len(given)}\n```", special=False)

    requests(find("pattern_agent")(PROBLEM, tool="python", steps=3), serve)
    assert given == [[], [], ["x1"]]


def test_a_block_that_is_longer_than_a_tool_takes_is_none() -> None:
    assert read_step(f"Pattern: method reuse\n```python\n{'1' * 70_000}\n```").block is None


@pytest.mark.parametrize("tool", ["premises", "proof"])
def test_tools_of_several_inputs_are_refused(tool: str) -> None:
    backend = MarkovBackend()
    job = MethodJob(find("pattern_agent"), Problem("p", "q"), {"tool": tool})
    ((_, result),) = Driver({"toy": backend}).solve([job])
    assert result.why == "failed"
    assert "tool must be one of calculator, prover, python" in result.error
    assert backend.made == 0


def test_without_steps_or_with_a_finished_first_one_it_is_chain_of_thought() -> None:
    expected = law_of_answers("chain_of_thought")
    assert law_of_answers("pattern_agent", steps=0) == expected
    assert law_of_answers("pattern_agent", judge=lambda _: "The solution is complete.") == expected


def test_a_budget_that_ends_among_the_steps_leaves_no_answer() -> None:
    answer, _ = solve("pattern_agent", scripted, budget=Budget(tokens=30), **PROMPTS)
    assert answer.answer is None


def test_the_versions_of_a_run_name_its_tool() -> None:
    method = find("pattern_agent")
    assert versions_of_method(method, {"tool": "calculator"}).parts["tool calculator"] == 1
    assert not any(name.startswith("tool ") for name in versions_of_method(method, {}).parts)


def test_a_tool_that_there_is_not_is_named_before_anything_is_written() -> None:
    backend = MarkovBackend()
    with pytest.raises(ParameterError, match="nothing"):
        list(Driver({"toy": backend}).solve([MethodJob(find("pattern_agent"), Problem("p", "q"), {"tool": "nothing"})]))
    assert backend.made == 0
