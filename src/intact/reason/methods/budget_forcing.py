"""Budget forcing: control the length of the thinking."""

from __future__ import annotations

from dataclasses import replace

from intact.reason import Extend, Piece, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Filled, Natural
from intact.text.thinking import THINK_TAGS

FINAL = "\nFinal Answer:"


def without(state: State, stop: str) -> State:
    """Return the state without the stop string that ended it; the model's last piece is then tokenised again.

    The token that completed the stop string may extend beyond it; the extra characters are removed as well.
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
    """Think for a fixed token budget: append "Wait" if the model stops early, and cut it off if it does not stop.

    Parameters
    ----------
    thinking : int
        Maximum number of thinking tokens.
    waits : int
        Number of times that the end of the thinking is ignored.
    answering : int
        Maximum number of answer tokens.
    end : str
        String that ends the thinking.
    wait : str
        String that replaces an ignored end of thinking.
    final : str
        String appended after thinking that was cut off.
    """
    thought = problem.start
    spent = ignored = 0
    turns: list[str | None] = []  # the answer at each ignored end of thinking
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
