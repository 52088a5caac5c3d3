"""Last finish: the longest texts vote."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, Samples


def _check_voters(*, n: int, k: int) -> None:
    if k > n:
        raise ParameterError(f"of {n} texts at most all may vote, got k = {k}")


@method(
    "Agarwal, Sengupta & Chakraborty 2025, arXiv 2512.02008",
    group="races, and how long a text thinks",
    independent=True,
    checks=(_check_voters,),
    temperature=0.7,
)
def last_finish(problem: Problem, *, n: Samples = 8, k: Count = 1) -> Steps:
    """Write n texts to their ends, and give the majority among the k longest ones.

    Length is counted in tokens, ties by place. Of texts that came to an end of their own and give an answer; if there
    are fewer than k, these vote; if none, all do. Ties of the vote go to the longest text.

    Parameters
    ----------
    k : int
        Texts that vote; 1 is the longest alone, n the majority vote.
    """
    samples = yield [Extend(problem.start)] * n
    whole = [state for state in samples if state.complete and problem.answer(state) is not None]
    longest = sorted(whole or samples, key=lambda state: -state.length)[:k]
    return elect(problem, longest if whole else samples, lengths=[state.length for state in samples])
