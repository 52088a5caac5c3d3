"""Hypothesis search: rules stated in words are turned into programs, which are tested on the problem's examples."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final

from intact._base.errors import SpentError
from intact.reason import Extend, Part, Problem, State, Steps, Use, method
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Natural, Positive, together
from intact.reason.methods.program_aided import program_of
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.prompting import make_prompt, question, read_value
from intact.reason.tool import shorten

PROPOSE: Final = """\
{question}

Do not answer yet. State in one or two sentences the rule that turns each input of the examples into its output."""

IMPLEMENT: Final = """\
{question}

The rule may be: {hypothesis}

Write a Python function transform(x) that applies this rule: it takes an input and returns the output. Its inputs are \
such as {example}. Write the function alone."""

REVISE: Final = """\
{question}

This function shall turn each input of the examples into its output:

{program}

It does not:

{feedback}

Write the function transform(x) again, so that it does. Write the function alone."""

_LABEL: Final = re.compile(r"^[ \t]*(input|output)(?:[ \t]+\d+)?[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
MOST_EXAMPLES: Final = 20
"""Maximum number of examples tested; keeps the printed output within a tool's limits."""
LONGEST_VALUE: Final = 100
"""Maximum number of characters of a wrong output that are printed."""


@dataclass(frozen=True)
class Examples:
    """The examples in a question, as text: pairs of input and output and, if given, the input to answer."""

    pairs: tuple[tuple[str, str], ...]
    query: str | None

    @classmethod
    def of(cls, text: str) -> Examples:
        """Read examples from lines that begin with `Input:` and `Output:`, numbered or not.

        A value ends at the next empty line. An input without an output after the examples is the one to answer.
        """
        parts = _LABEL.split(text)
        found = [(label.lower(), re.split(r"\n[ \t]*\n", value)[0].strip()) for label, value in _pairs(parts[1:])]
        pairs, query, last = list[tuple[str, str]](), None, None
        for label, value in found:
            if label == "input":
                last = query = value
            elif last is not None and value:
                pairs.append((last, value))
                last = query = None
        return cls(tuple(pairs[:MOST_EXAMPLES]), query)


def _pairs(parts: list[str]) -> list[tuple[str, str]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


def literal_of(text: str) -> str:
    """Return the Python literal for a value given as text: the text itself if it is a literal, otherwise a string."""
    try:
        return repr(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return repr(text)


def cell_of(examples: Examples) -> str:
    """Return a cell that tests `transform`: for each example it prints OK or the wrong output, and then the answer."""
    pairs = ", ".join([f"({literal_of(given)}, {literal_of(wanted)})" for given, wanted in examples.pairs])
    query = "" if examples.query is None else f"print(answer({literal_of(examples.query)}))"
    return f"""\
import contextlib, io

def answer(given):
    with contextlib.redirect_stdout(io.StringIO()):
        return transform(given)

for given, wanted in [{pairs}]:
    try:
        found = answer(given)
    except Exception as error:
        found = type(error).__name__
    print("OK" if found == wanted else repr(found)[:{LONGEST_VALUE}].replace("\\n", " "))
{query}
"""


@dataclass(frozen=True)
class _Candidate:
    """A program with its test results."""

    state: State
    lines: tuple[str, ...] = ()
    answer: str = ""

    @property
    def passed(self) -> int:
        """The number of examples that the program gets right."""
        return self.lines.count("OK")

    def feedback(self, examples: Examples) -> str:
        """Describe the examples that the program gets wrong."""
        lines = [
            f"transform({given}) gives {line}, and should give {wanted}"
            for (given, wanted), line in zip(examples.pairs, self.lines, strict=False)
            if line != "OK"
        ]
        return shorten("\n".join(lines), 1500) or "It fails."


def _test(written: list[State], examples: Examples, seconds: float) -> Part[list[_Candidate]]:
    """Test each program, as far as the budget allows."""
    found = [_Candidate(state) for state in written]
    cell = cell_of(examples)
    try:
        for place, state in enumerate(written):
            if state.broken_off:
                continue
            result = yield Use("python", {"code": cell, "before": [program_of(state.last)], "seconds": seconds})
            lines = result.text.splitlines()
            tests, rest = lines[: len(examples.pairs)], lines[len(examples.pairs) :]
            found[place] = _Candidate(state, tuple(tests), "\n".join(rest) if result.ok else "")
    except SpentError:
        pass
    return found


def _check_number(*, n: int, programs: int) -> None:
    together(n * programs, "n and programs")


@method(
    "Wang et al. 2023, arXiv 2309.05660 (Hypothesis Search)",
    group="programs, run in the sandbox",
    uses=("programs", "tool python"),
    checks=(_check_number,),
    temperature=0.7,
)
def hypothesis_search(
    problem: Problem,
    *,
    n: Count = 4,
    programs: Count = 2,
    rounds: Natural = 1,
    seconds: Positive = 10.0,
    propose: str = PROPOSE,
    implement: str = IMPLEMENT,
    revise: str = REVISE,
) -> Steps:
    """Propose n rules, write programs for each, test them on the examples, and vote among the best programs.

    Parameters
    ----------
    n : int
        Number of proposed rules.
    programs : int
        Number of programs per rule.
    rounds : int
        Number of times that failing programs are rewritten; rewriting stops once a program passes all examples.
    seconds : float
        Wall-time limit per test, in seconds.
    propose : str
        Prompt template for a rule, with {question}.
    implement : str
        Prompt template for a program, with {question}, {hypothesis} and {example}; the reply begins in a code block.
    revise : str
        Prompt template for a corrected program, with {question}, {program} and {feedback}.
    """
    examples = Examples.of(question(problem))
    rules = yield [Extend(problem.ask(make_prompt(problem, propose)))] * n
    example = examples.pairs[0][0] if examples.pairs else "those of the question"
    begun = [rule.ask(make_prompt(problem, implement, hypothesis=rule.text.strip(), example=example)) for rule in rules]
    candidates = list[_Candidate]()
    try:
        for turn in range(rounds + 1):
            blocks = [state.append(f"{FENCE}python\n") for state in begun]
            requests = [Extend(state, stop=(FENCE,)) for state in blocks for _ in range(1 if turn else programs)]
            written = yield requests
            tested = yield from _test(written, examples, seconds)
            candidates += tested
            if not examples.pairs or max(one.passed for one in candidates) == len(examples.pairs):
                break
            begun = [
                one.state.ask(
                    make_prompt(
                        problem,
                        revise,
                        program=f"{FENCE}python\n{program_of(one.state.last)}{FENCE}",
                        feedback=one.feedback(examples),
                    )
                )
                for one in tested
            ]
    except SpentError:
        pass
    most = max((one.passed for one in candidates), default=0)
    best = [one for one in candidates if one.passed == most]
    answers = [read_value(problem, one.answer) for one in best]
    passed = [one.passed for one in candidates]
    return elected(
        vote(answers), answers, [one.state for one in best], None, examples=len(examples.pairs), passed=passed
    )
