"""Chain of thought: a single completion."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import take


@method(
    "Wei et al. 2022, arXiv 2201.11903; Kojima et al. 2022, arXiv 2205.11916",
    group="samples and a vote",
    independent=True,
    temperature=0.0,
)
def chain_of_thought(problem: Problem, *, cue: str = "") -> Steps:
    """Reason step by step in one completion, greedily by default, and read the answer at the end.

    Parameters
    ----------
    cue : str
        Opening of the completion, such as "Let's think step by step."; chat models need none.
    """
    text = yield Extend(problem.start.append(cue) if cue else problem.start)
    return take(problem, text)
