"""Races: the texts that end first, in tokens."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.reason import Extend, Part, Problem, Race, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count


def _race(problem: Problem, k: int, m: int, end: str) -> Part[list[State]]:
    """The winners, the first first: texts that have finished thinking, and have answered since."""
    raced = yield Race([Extend(problem.start, stop=(end,) if end else ())] * k, m)
    winners = [raced.states[i] for i in raced.winners] or list(raced.states)
    thinking = [state for state in winners if end and state.why == "stop"]
    answered = iter((yield [Extend(state, stop=()) for state in thinking]) if thinking else ())
    return [next(answered) if state in thinking else state for state in winners]


def _check_winners(*, k: int, m: int) -> None:
    if m > k:
        raise ParameterError(f"of {k} texts, from 1 to all may win, got m = {m}")


@method(
    "Hassid et al. 2025, arXiv 2505.17813",
    group="races, and how long a text thinks",
    checks=(_check_winners,),
    temperature=0.7,
)
def short_m_at_k(problem: Problem, *, k: Count = 8, m: Count = 3, end: str = "") -> Steps:
    """Start k texts, stop when m have finished, and give the majority among these.

    First means fewest tokens, ties by place, so that a race replays exactly; losers are cut at the last winner's count
    of tokens. Ties of the vote go to the shortest text. Where the model thinks first, the race ends with the
    thinking, and only winners go on to answer. If fewer than m come to an end of their own, these vote; if none,
    all do.

    Parameters
    ----------
    k : int
        Texts that start.
    m : int
        Texts that vote.
    end : str
        What ends the thinking, such as ``</think>``; empty: the race is to the end of the text.
    """
    return elect(problem, (yield from _race(problem, k, m, end)))


@method("Agarwal et al. 2025, arXiv 2505.18149", group="races, and how long a text thinks", temperature=0.7)
def first_finish(problem: Problem, *, n: Count = 8, end: str = "") -> Steps:
    """Start n texts, and give the answer of the first that finishes.

    As `short_m_at_k` with m = 1. First means fewest tokens.

    Parameters
    ----------
    n : int
        Texts that start.
    end : str
        What ends the thinking, such as ``</think>``; empty: the race is to the end of the text.
    """
    return elect(problem, (yield from _race(problem, n, 1, end)))
