"""Budget forcing."""

from __future__ import annotations

from dataclasses import replace

from intact.reason import Extend, Piece, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled, Natural
from intact.text.thinking import THINK_TAGS

FINAL = "\nFinal Answer:"


def without(state: State, stop: str) -> State:
    """The text before the stop string that ended it; what the model wrote last is tokenised again.

    The token that completed the string may reach beyond it; that goes too.
    """
    *before, last = state.pieces
    kept = Piece(last.text[: last.text.rindex(stop)], model=last.model, special=False)
    return replace(state, pieces=(*before, kept), why="")


@method(
    "Muennighoff et al. 2025, arXiv 2501.19393", version=2, group="races, and how long a text thinks", temperature=0.0
)
def budget_forcing(
    problem: Problem,
    *,
    thinking: Count = 2048,
    waits: Natural = 1,
    answering: Count = 256,
    end: Filled = THINK_TAGS.closes,
    wait: str = "Wait",
    final: str = FINAL,
) -> Steps:
    """Think for a set number of tokens: longer by "Wait" where the model would end, cut short where it would not.

    Parameters
    ----------
    thinking : int
        Tokens of thought at most.
    waits : int
        How often an end of thinking is ignored.
    answering : int
        Tokens of the answer at most.
    end : str
        What ends the thinking.
    wait : str
        What takes its place.
    final : str
        What is added to the end of thinking that is cut short.
    """
    thought = problem.start
    spent = ignored = 0
    turns: list[str | None] = []  # what it would have answered at each end of thinking that was ignored
    while True:
        before = thought.length
        thought = yield Extend(thought, stop=(end,), max_tokens=thinking - spent)
        spent += thought.length - before
        stopped = thought.why == "stop"
        if not thought.complete or ignored == waits or spent >= thinking:
            break
        ignored += 1
        turns.append(problem.answer(thought))
        thought = (without(thought, end) if stopped else thought).append(wait)
    if thought.complete and thought.ended:
        return take(problem, thought, waits=ignored, turns=[[*turns, problem.answer(thought)]])
    if not stopped:
        thought = thought.append(end + final)
    answer = yield Extend(thought, max_tokens=answering)
    return take(problem, answer, waits=ignored, thought=spent, turns=[[*turns, problem.answer(answer)]])
