"""A workflow of plan, steps and tools, in which each step names its reasoning pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, NamedTuple

from intact.reason import Extend, Part, Problem, Steps, Use, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled, Natural, ToolName, one_of
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.tool import LONGEST_INPUT, ToolResult, shorten
from intact.reason.tools import find_tool

PATTERNS: Final[Mapping[str, str]] = {
    "systematic analysis": "look at the problem as a whole, its parts and what is asked, before choosing a way",
    "method reuse": "apply a method that is known for problems of this kind",
    "divide and conquer": "split off a part of the problem, and solve that",
    "self-refinement": "check what was written so far, and correct it",
    "context identification": "state which knowledge or context the problem needs",
    "emphasised constraints": "state which conditions the answer must fulfil",
}
"""Reasoning patterns that the study found in o1's outputs; the descriptions are our own."""
TOOLS: Final = ("calculator", "prover", "python")
"""Tools that take a single text input."""
TOOLED: Final = ("method reuse", "self-refinement")
"""Patterns whose steps may use the tool: to calculate and to check."""
DOMAINS: Final[Mapping[str, str]] = {
    "general": "You solve problems step by step.",
    "mathematics": "You are an expert in mathematics. You name what is given and what is sought, calculate one thing "
    "at a time, and check the result.",
    "code": "You are an expert programmer. You state inputs, outputs and special cases, choose an algorithm, write the "
    "program, and go through it by an example.",
    "commonsense": "You know everyday life well. You look at each clue in the question, state what it presupposes, and "
    "rule out what does not fit.",
}
"""Prompts for the domains covered by the study."""

PLAN = """\
{domain}

{question}

Write a plan of a few steps by which this can be solved. Do not solve it yet."""

STEP = """\
{domain}

{question}

The plan:
{plan}

The solution so far:
{solution}

Write the next step alone. Begin with the line "Pattern: " and the name of the pattern of reasoning that it takes:
{patterns}
{tool}
If nothing is missing any more, write only: {finished}"""

OFFER = """
A step of {tooled} may end with an input for a tool, between two lines of ```; its output is then shown to you. The \
tool: {line} The input: {input}
"""

NOTHING = "(nothing yet)"
_BLOCK: Final = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)\n[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)


class PatternStep(NamedTuple):
    """A step: its pattern (None if it does not name one of the six), and its text without the pattern line."""

    pattern: str | None
    text: str

    @property
    def block(self) -> str | None:
        """The last tool input in the step, if its pattern allows one."""
        found = _BLOCK.findall(self.text) if self.pattern in TOOLED else []
        return found[-1] if found and len(found[-1]) <= LONGEST_INPUT else None


def read_step(text: str) -> PatternStep:
    """Parse a step, whose first line may have the form "Pattern: NAME"."""
    line, _, rest = text.strip().partition("\n")
    label = re.fullmatch(r"[^\w\n]*pattern\b\W*(.*)", line, re.IGNORECASE)
    if label is None:
        return PatternStep(None, text.strip())
    named = label[1].lower().replace("emphasizing", "emphasised").replace("emphasized", "emphasised")
    return PatternStep(next((name for name in PATTERNS if name in named), None), rest.strip())


def _check_tool(*, tool: str) -> None:
    if tool:
        one_of(TOOLS, tool=tool)


@method(
    "Wu et al. 2024, arXiv 2410.13639 (agent workflow)",
    group="plans, roles and layers of models",
    checks=(_check_tool,),
    temperature=0.7,
)
def pattern_agent(
    problem: Problem,
    *,
    domain: Annotated[str, partial(one_of, DOMAINS)] = "general",
    steps: Natural = 6,
    tokens: Count = 400,
    tool: ToolName = "",
    output: Count = 1000,
    finished: Filled = "The solution is complete.",
    plan: str = PLAN,
    step: str = STEP,
) -> Steps:
    """Plan a solution, write steps that name one of six reasoning patterns, use a tool in some of them, and answer.

    Parameters
    ----------
    domain : str
        Domain of the prompt that precedes the plan and each step: general, mathematics, code or commonsense.
    steps : int
        Maximum number of steps; after that the solution is written to the end. With 0, no plan is written either.
    tokens : int
        Maximum number of tokens per plan and per step.
    tool : str
        Tool for steps of method reuse and self-refinement: calculator, prover or python; empty for none.
    output : int
        Maximum number of characters of tool output that are shown; longer output is cut in the middle.
    finished : str
        Sentence written instead of a step when the solution is complete.
    plan : str
        Prompt template for the plan, with {domain} and {question}.
    step : str
        Prompt template for a step, with {domain}, {question}, {plan}, {solution}, {patterns}, {tool} and {finished}.
    """
    make = partial(make_prompt, problem, domain=DOMAINS[domain], finished=finished, tool=_offer(tool))
    make = partial(make, patterns="\n".join([f"- {name}: {words}" for name, words in PATTERNS.items()]))
    text, planned, taken, uses, cells = problem.start, "", list[PatternStep](), 0, list[str]()
    with until_spent() as spent:
        if steps:
            planned = (yield Extend(problem.ask(make(plan)), max_tokens=tokens)).text.strip()
        while len(taken) < steps:
            prompt = make(step, plan=planned, solution=text.text.strip() or NOTHING)
            written = read_step((yield Extend(problem.ask(prompt), max_tokens=tokens)).text)
            if finished in written.text or not written.text:
                break
            text = text.append(f"{written.text}\n\n", special=False)
            taken.append(written)
            if tool and written.block is not None:
                result = yield from _use(tool, written.block, cells)
                uses += 1
                printed = shorten(result.text.rstrip("\n"), output) or "(no output)"
                text = text.append(f"```output\n{printed}\n```\n\n", special=False)
        text = yield Extend(text)
    answer = take(problem, text, plan=planned, patterns=[one.pattern for one in taken], uses=uses)
    return or_spent(answer, spent)


def _offer(tool: str) -> str:
    """Return the part of the step prompt that describes the tool; empty if there is no tool."""
    if not tool:
        return ""
    found = find_tool(tool)
    values = {"tooled": " or ".join(TOOLED), "line": found.line, "input": found.inputs[_input_of(tool)].help}
    return OFFER.format_map(values)


def _input_of(tool: str) -> str:
    """Return the name of a tool's first required input."""
    return next(name for name, declared in find_tool(tool).inputs.items() if declared.default is None)


def _use(tool: str, block: str, cells: list[str]) -> Part[ToolResult]:
    """Run the tool on an input, with the earlier inputs if it takes them; record the input unless a limit was hit."""
    values: dict[str, Any] = {_input_of(tool): block}
    if "before" in find_tool(tool).inputs:
        values["before"] = list(cells)
    result: ToolResult = yield Use(tool, values)
    if result.ended in ("ok", "error"):
        cells.append(block)
    return result
