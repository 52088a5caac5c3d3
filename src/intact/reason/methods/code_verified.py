"""Code-verified answers: a program checks each solution, and its verdict sets the solution's vote."""

from __future__ import annotations

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Amount, Count, Positive
from intact.reason.methods.program_aided import FENCE, printed
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import path

CHECK = """\
{question}

The answer is claimed to be: {answer}

Write a Python program that checks this claim by another way than solving the question again, where there is one. \
It prints True if the claim is right, and False if it is wrong."""


@method(
    "Zhou et al. 2023, arXiv 2308.07921 (CSV)",
    group="programs, run in the sandbox",
    version=2,
    independent=True,
    uses=("programs",),
    temperature=0.7,
)
def code_verified(
    problem: Problem,
    *,
    n: Count = 8,
    right: Amount = 1.0,
    uncertain: Amount = 0.5,
    wrong: Amount = 0.2,
    seconds: Positive = 10.0,
    check: str = CHECK,
) -> Steps:
    """Sample n solutions, check each with a program, and take a vote weighted by the programs' verdicts.

    If all solutions with an answer have weight 0, each gets one vote.

    Parameters
    ----------
    n : int
        Number of solutions.
    right : float
        Weight of a solution whose program prints True.
    uncertain : float
        Weight of a solution whose program prints neither True nor False, or fails.
    wrong : float
        Weight of a solution whose program prints False.
    seconds : float
        Wall-time limit per program, in seconds.
    check : str
        Prompt template for a checking program, with {question} and {answer}; the reply begins inside a code block.
    """
    solutions = yield [Extend(problem.start)] * n
    answers = problem.answers(solutions)
    answered = [(state, answer) for state, answer in zip(solutions, answers, strict=True) if answer is not None]
    begun = [s.ask(make_prompt(problem, check, answer=answer)).append(f"{FENCE}python\n") for s, answer in answered]
    try:
        written = yield [Extend(state, stop=(FENCE,)) for state in begun]
    except SpentError:
        return elect(problem, solutions)
    outputs = yield from printed(written, seconds)
    lines = iter(outputs)
    ruled = [None if answer is None else next(lines) for answer in answers]
    weights = [{"True": right, "False": wrong}.get(line or "", uncertain) for line in ruled]
    verdicts = {
        path(state.branch): [[{"True": 1.0, "False": 0.0}.get(line), program.length]]
        for (state, _), line, program in zip(answered, outputs, written, strict=True)
    }
    return elect(problem, solutions, weights, printed=outputs, verdicts=verdicts)
