"""Generative verifiers: a model verifies each solution in writing, several times."""

from __future__ import annotations

import re

from intact._base.errors import SpentError
from intact._base.exact import mean
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect, pick
from intact.reason.limits import Count, ModelName, together
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import SPENT, path

VERIFY = """\
{question}

Here is a proposed solution:

{answer}

Check the solution step by step. End with the line "Verdict: Yes" if its final answer is right, or "Verdict: No"."""

DEMAND = "\n\nVerdict:"
"""Text appended to a verification that ends without a verdict."""

_VERDICT = re.compile(r"^[^\w\n]*verdict\W*(yes|no)\b", re.IGNORECASE | re.MULTILINE)
"""Only text on the same line may precede a verdict, so that the search does not rescan empty lines."""


def verdict(text: str) -> float | None:
    """Return the verdict in the last line that begins with one: 1 for yes, 0 for no."""
    found = _VERDICT.findall(text)
    return float(found[-1].lower() == "yes") if found else None


def _ruling(verification: State) -> float | None:
    """Return the verdict of a verification; None if it ended with an error."""
    return None if verification.why == "error" else verdict(verification.text)


def _check_number(*, n: int, checks: int) -> None:
    together(n * checks, "n and checks")


@method(
    "Zhang et al. 2024, arXiv 2408.15240 (GenRM); Singhi et al. 2025, arXiv 2504.01005 (prompted verifiers)",
    version=2,
    group="samples, chosen by a scorer",
    independent=True,
    checks=(_check_number,),
    temperature=0.7,
)
def generative_verifier(
    problem: Problem,
    *,
    n: Count = 8,
    checks: Count = 4,
    weighted: bool = False,
    verifier: ModelName = "",
    verify: str = VERIFY,
) -> Steps:
    """Sample n solutions, verify each in writing several times, and choose by the share of positive verdicts.

    Parameters
    ----------
    n : int
        Number of solutions.
    checks : int
        Number of verifications per solution.
    weighted : bool
        If true, return the answer with the largest sum of shares instead of the single solution with the largest share.
    verifier : str
        Name of the model that verifies; by default the main model.
    verify : str
        Prompt template for a verdict, with {question} and {answer}; the reply ends in "Verdict: Yes" or "Verdict: No".
    """
    solutions = yield [Extend(problem.start)] * n
    prompts = [solution.ask(make_prompt(problem, verify, answer=solution.text)) for solution in solutions]
    try:
        verifications = yield [Extend(one, model=verifier) for one in prompts for _ in range(checks)]
        silent = [i for i, one in enumerate(verifications) if _ruling(one) is None and one.why not in SPENT]
        completed = yield [
            Extend(verifications[i].append(DEMAND), max_tokens=4, temperature=0.0, model=verifier) for i in silent
        ]
        for i, state in zip(silent, completed, strict=True):
            verifications[i] = state
    except SpentError:
        verifications = []
    if not verifications or any(one.why in SPENT for one in verifications):
        return elect(problem, solutions)  # fewer verifications must not cost a solution votes
    rulings = [[_ruling(one), one.length] for one in verifications]
    by_text = {path(solution.branch): rulings[i * checks : (i + 1) * checks] for i, solution in enumerate(solutions)}
    verdicts = [0.5 if (value := _ruling(one)) is None else value for one in verifications]
    shares = [mean(verdicts[i * checks : (i + 1) * checks]) for i in range(n)]
    if weighted:
        return elect(problem, solutions, shares, rewards=shares, verdicts=by_text)
    return pick(problem, solutions, shares, verdicts=by_text)
