"""Syzygy of Thoughts: auxiliary conditions first, then several solutions based on them, a comparison, and an answer."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count
from intact.reason.parts.prompting import as_reply, make_prompt

SYZYGY = """\
{question}

Solve this in the following order, each part under its own heading.

1. Auxiliary conditions: list up to {betti} conditions that are hidden in the question or follow from it, and that \
together reduce it to simpler parts.
2. Solutions: solve it in {solutions} different ways, each from these conditions alone, step by step.
3. Comparison: compare the solutions, check each of them against the conditions, and name the best one.
4. Answer: state the final answer of the best solution, in the form that the question asks for."""


@method("Li et al. 2025, arXiv 2504.09566", group="plans, roles and layers of models", temperature=0.0)
def syzygy_of_thoughts(
    problem: Problem, *, n: Count = 1, betti: Count = 5, solutions: Count = 5, syzygy: str = SYZYGY
) -> Steps:
    """Write auxiliary conditions, several solutions based on them, a comparison and the answer, all in one completion.

    Parameters
    ----------
    n : int
        Number of completions that vote; more than 1 requires a temperature.
    betti : int
        Maximum number of auxiliary conditions (the method's Betti number).
    solutions : int
        Number of solutions in each completion.
    syzygy : str
        Prompt template, with {question}, {betti} and {solutions}.
    """
    prompt = make_prompt(problem, syzygy, betti=str(betti), solutions=str(solutions))
    texts = yield [Extend(problem.ask(prompt))] * n
    return elect(problem, [as_reply(problem, text) for text in texts])
