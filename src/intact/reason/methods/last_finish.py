"""Last finish: the longest completions vote."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, Samples


def _check_voters(*, n: int, k: int) -> None:
    if k > n:
        raise ParameterError(f"k must be at most n ({n}), got {k}")


@method(
    "Agarwal, Sengupta & Chakraborty 2025, arXiv 2512.02008",
    group="races, and how long a text thinks",
    independent=True,
    checks=(_check_voters,),
    temperature=0.7,
)
def last_finish(problem: Problem, *, n: Samples = 8, k: Count = 1) -> Steps:
    """Sample n completions to the end, and return the majority answer of the k longest.

    Length is counted in tokens; ties go to the earlier sample. Only completions that the model ended itself and that
    give an answer count; if there are fewer than k, these vote, and if there are none, all completions vote. Ties in
    the vote go to the longest completion.

    Parameters
    ----------
    k : int
        Number of completions that vote; 1 takes the longest completion, n gives the majority vote.
    """
    samples = yield [Extend(problem.start)] * n
    whole = [state for state in samples if state.complete and problem.answer(state) is not None]
    longest = sorted(whole or samples, key=lambda state: -state.length)[:k]
    return elect(problem, longest if whole else samples, lengths=[state.length for state in samples])
