"""Races: the completions with the fewest tokens finish first and give the answer."""

from __future__ import annotations

from intact._base.errors import ParameterError
from intact.reason import Extend, Part, Problem, Race, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count


def _race(problem: Problem, k: int, m: int, end: str) -> Part[list[State]]:
    """Return the winners in finishing order; with `end`, they finish thinking first and then answer."""
    raced = yield Race([Extend(problem.start, stop=(end,) if end else ())] * k, m)
    winners = [raced.states[i] for i in raced.winners] or list(raced.states)
    thinking = [state for state in winners if end and state.why == "stop"]
    answered = iter((yield [Extend(state, stop=()) for state in thinking]) if thinking else ())
    return [next(answered) if state in thinking else state for state in winners]


def _check_winners(*, k: int, m: int) -> None:
    if m > k:
        raise ParameterError(f"m must be at most k ({k}), got {m}")


@method(
    "Hassid et al. 2025, arXiv 2505.17813",
    group="races, and how long a text thinks",
    checks=(_check_winners,),
    temperature=0.7,
)
def short_m_at_k(problem: Problem, *, k: Count = 8, m: Count = 3, end: str = "") -> Steps:
    """Start k completions, stop when m have finished, and return the majority answer of those m.

    First means fewest tokens, with ties broken by index, so that a race replays exactly; losers are cut at the last
    winner's token count. Ties in the vote go to the shortest completion. If the model thinks first, the race is to the
    end of the thinking, and only winners go on to answer. If the model ends fewer than m completions itself, these
    vote; if it ends none, all vote.

    Parameters
    ----------
    k : int
        Number of completions started.
    m : int
        Number of completions that vote.
    end : str
        String that ends the thinking, such as ``</think>``; if empty, the race is to the end of the completion.
    """
    return elect(problem, (yield from _race(problem, k, m, end)))


@method("Agarwal et al. 2025, arXiv 2505.18149", group="races, and how long a text thinks", temperature=0.7)
def first_finish(problem: Problem, *, n: Count = 8, end: str = "") -> Steps:
    """Start n completions, and return the answer of the first that finishes.

    This is equivalent to `short_m_at_k` with m = 1. First means fewest tokens.

    Parameters
    ----------
    n : int
        Number of completions started.
    end : str
        String that ends the thinking, such as ``</think>``; if empty, the race is to the end of the completion.
    """
    return elect(problem, (yield from _race(problem, n, 1, end)))
