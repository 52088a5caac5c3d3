"""Tree of Thoughts: breadth-first search with the model as its own judge."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Final, NamedTuple

from intact._base.errors import SpentError
from intact._base.exact import total
from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import pick
from intact.reason.limits import Count, Filled, one_of, together
from intact.reason.parts.comparing import choose, numbered
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.beam import keep_best
from intact.reason.problem import SPENT

VALUES: Final = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
"""Values of the words of a judgement, as in the authors' code."""

VALUE = """\
{question}

Here is the beginning of a solution, or the whole of one:

{answer}

Judge whether this leads to the right answer. Reason briefly, then write one word on the last line: sure, likely or \
impossible."""

VOTE = """\
{question}

Here are beginnings of solutions, or whole ones:

{answers}

Compare them, and decide which is the most promising. End with the line "Choice: " and its number."""

_WORD = re.compile(rf"\b({'|'.join(VALUES)})\b", re.IGNORECASE)


class Thoughts(NamedTuple):
    """The sequences of one level, and the settings of their judge."""

    problem: Problem
    texts: Sequence[State]
    checks: int
    prompt: str


def worth(judgement: str) -> float:
    """Return the value of the last of the three words in a judgement's last line; 0 if it contains none of them."""
    found = _WORD.findall(judgement.strip().rpartition("\n")[2])
    return VALUES[found[-1].lower()] if found else 0.0


def _values(level: Thoughts) -> Part[list[float]]:
    """Judge each sequence separately `checks` times, and sum the values; duplicates of an earlier sequence get 0."""
    first: dict[str, int] = {}
    for i, state in enumerate(level.texts):
        first.setdefault(state.text, i)
    distinct = sorted(first.values())
    prompts = [
        level.texts[i].ask(make_prompt(level.problem, level.prompt, answer=level.texts[i].text)) for i in distinct
    ]
    judged = yield [Extend(prompt) for prompt in prompts for _ in range(level.checks)]
    if any(one.why in SPENT for one in judged):
        raise SpentError("the budget or the context has no room for all the judgements")
    worths = [0.0 if one.why == "error" else worth(one.text) for one in judged]
    result = [0.0] * len(level.texts)
    for place, i in enumerate(distinct):
        result[i] = total(worths[place * level.checks : (place + 1) * level.checks])
    return result


def _votes(level: Thoughts) -> Part[list[float]]:
    """Have all sequences compared in one prompt `checks` times, and count the choices."""
    prompt = make_prompt(level.problem, level.prompt, answers=numbered([state.text for state in level.texts]))
    chosen = yield from choose([level.problem.ask(prompt)] * level.checks, len(level.texts))
    return [float(chosen.count(i)) for i in range(len(level.texts))]


JUDGES: dict[str, Callable[[Thoughts], Part[list[float]]]] = {"value": _values, "vote": _votes}


def _check_number(*, k: int, width: int, checks: int) -> None:
    together(k * width * checks, "k, width and checks")


@method("Yao et al. 2023, arXiv 2305.10601", group="search step by step", checks=(_check_number,), temperature=0.7)
def tree_of_thoughts(
    problem: Problem,
    *,
    k: Count = 5,
    width: Count = 5,
    checks: Count = 3,
    steps: Count = 4,
    delimiter: Filled = "\n",
    judge: Annotated[str, partial(one_of, JUDGES)] = "value",
    value: str = VALUE,
    vote: str = VOTE,
) -> Steps:
    """Write k candidate next thoughts for each sequence, have the model judge them, and keep the best at each level.

    Parameters
    ----------
    k : int
        Number of candidate next thoughts sampled per sequence.
    width : int
        Number of sequences kept at each level.
    checks : int
        Number of judgements per sequence, or of votes on all of them.
    steps : int
        Number of levels; sequences that have not ended by then are written to the end.
    delimiter : str
        String that ends a thought.
    judge : str
        Judging rule: value rates each sequence separately as sure, likely or impossible; vote names the best of all.
    value : str
        Prompt template for a rating, with {question} and {answer}.
    vote : str
        Prompt template for a vote, with {question} and {answers}.
    """
    kept, worths = [problem.start], [0.0]
    levels = 0
    with until_spent() as spent:
        while levels < steps and not all(state.ended for state in kept):
            going = [state for state in kept if not state.ended]
            drawn = iter((yield [Extend(state, stop=(delimiter,)) for state in going for _ in range(k)]))
            texts = [one for state in kept for one in ([state] if state.ended else [next(drawn) for _ in range(k)])]
            values = yield from JUDGES[judge](Thoughts(problem, texts, checks, value if judge == "value" else vote))
            best = keep_best(values, width)
            kept, worths = [texts[i] for i in best], [values[i] for i in best]
            levels += 1
        kept = yield [Extend(state) for state in kept]
    return or_spent(pick(problem, kept, worths, levels=levels), spent)
