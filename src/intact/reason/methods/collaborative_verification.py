"""Collaborative verification: a scorer picks the best of the solutions that agree with their program translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact._base.errors import SpentError
from intact.reason import Extend, Part, Problem, Score, State, Steps, Use, method
from intact.reason.aggregate.votes import elect, pick
from intact.reason.limits import Count, Positive, ScorerName
from intact.reason.methods.program_aided import program_of
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.prompting import make_prompt, read_value

TRANSLATE: Final = """\
{question}

Here is a solution:

{solution}

Write a Python program that computes the answer by the steps of this solution and prints nothing else. Let it compute \
every number that the solution computes."""


def _run(problem: Problem, programs: Sequence[State], seconds: float) -> Part[list[str | None]]:
    """Return the answer that each program prints last, as far as the budget allows; None if the program fails."""
    found: list[str | None] = []
    try:
        for state in programs:
            if state.broken_off:
                found.append(None)
                continue
            result = yield Use("python", {"code": program_of(state.last), "seconds": seconds})
            line = result.text.strip().rpartition("\n")[2] if result.ok else ""
            found.append(read_value(problem, line))
    except SpentError:
        found += [None] * (len(programs) - len(found))
    return found


@method(
    "Liang et al. 2024, arXiv 2410.05318",
    group="programs, run in the sandbox",
    independent=True,
    uses=("programs", "tool python"),
    temperature=0.7,
)
def collaborative_verification(
    problem: Problem,
    *,
    n: Count = 8,
    scorer: ScorerName = "likelihood",
    seconds: Positive = 10.0,
    translate: str = TRANSLATE,
) -> Steps:
    """Sample n solutions, translate each into a program, and return the best solution whose program agrees with it.

    If no program agrees with its solution, all solutions vote.

    Parameters
    ----------
    n : int
        Number of solutions.
    scorer : str
        Scorer of the remaining solutions.
    seconds : float
        Wall-time limit per program, in seconds.
    translate : str
        Prompt template for a program, with {question} and {solution}; the reply begins in a code block.
    """
    solutions = yield [Extend(problem.start)] * n
    answered = [state for state in solutions if problem.answer(state) is not None]
    begun = [
        state.ask(make_prompt(problem, translate, solution=state.text.strip())).append(f"{FENCE}python\n")
        for state in answered
    ]
    try:
        programs = yield [Extend(state, stop=(FENCE,)) for state in begun]
    except SpentError:
        return elect(problem, solutions)
    printed = yield from _run(problem, programs, seconds)
    agreeing = [state for state, answer in zip(answered, printed, strict=True) if answer == problem.answer(state)]
    if not agreeing:
        return elect(problem, solutions, printed=printed)
    try:
        rewards = yield Score(scorer, agreeing)
    except SpentError:
        return elect(problem, agreeing, printed=printed)
    return pick(problem, agreeing, rewards, printed=printed)
