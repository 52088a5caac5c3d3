"""PlanSearch: combinations of observations, in natural language, become plans, and plans become solutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, combinations
from typing import Annotated, TypeAlias

from intact.reason import Extend, Part, Problem, Score, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, ScorerName, together, within
from intact.reason.parts.prompting import as_reply, make_prompt, read_list
from intact.reason.parts.stepwise import FinalRule, settle, until_spent
from intact.reason.populations.resampling import uniforms

OBSERVE = """\
{question}

What is known so far about this:
{known}

Do not solve it yet. List {count} further observations that could help to solve it, each on a line of its own behind \
its number: short, different from one another, and not trivial."""

PLAN = """\
{question}

Observations about this:
{known}

Use them to describe in words how to solve it, step by step. Do not write the solution itself."""

SOLVE = """\
{question}

Here is a plan:

{plan}

Follow the plan, and write the solution in full, in the form that the question asks for."""

NOTHING = "(nothing yet)"

Combination: TypeAlias = tuple[str, ...]
Few: TypeAlias = Annotated[int, partial(within, 1, 16)]
Levels: TypeAlias = Annotated[int, partial(within, 1, 3)]


def subsets(items: Sequence[str], most: int) -> list[Combination]:
    """Return all subsets of at most `most` items, the empty one first, each in the order of the items."""
    return list(chain.from_iterable(combinations(items, size) for size in range(min(most, len(items)) + 1)))


def _known(observations: Combination) -> str:
    return "\n".join([f"- {one}" for one in observations]) or NOTHING


def _observe(problem: Problem, template: str, count: int, combine: int, levels: int) -> Part[list[Combination]]:
    """Return all combinations of observations; at each level, new observations are derived from each combination."""
    found: dict[Combination, None] = {}
    newest: list[Combination] = [()]
    for _ in range(levels):
        prompts = [make_prompt(problem, template, known=_known(known), count=str(count)) for known in newest]
        replies = yield [Extend(problem.ask(prompt)) for prompt in prompts]
        made = chain(*[subsets(read_list(reply.text, count), combine) for reply in replies])
        newest = [one for one in dict.fromkeys(made) if one not in found]
        found |= dict.fromkeys(newest)
    return list(found)


def _check_number(*, observations: int, combine: int, levels: int) -> None:
    together(len(subsets([""] * observations, combine)) ** (levels - 1), "combinations of observations at all levels")


@method(
    "Wang et al. 2024, arXiv 2409.03733",
    group="plans, roles and layers of models",
    checks=(_check_number,),
    temperature=0.8,
)
def plan_search(
    problem: Problem,
    *,
    n: Count = 16,
    observations: Few = 5,
    combine: Few = 2,
    levels: Levels = 2,
    scorer: ScorerName = "likelihood",
    final: FinalRule = "best",
    observe: str = OBSERVE,
    plan: str = PLAN,
    solve: str = SOLVE,
) -> Steps:
    """List observations about a problem, turn combinations of them into plans, and solve by each; return the best.

    Parameters
    ----------
    n : int
        Maximum number of plans, each with one solution; if there are more combinations, n of them are drawn.
    observations : int
        Maximum number of observations per reply, at most 16.
    combine : int
        Maximum number of observations in a combination, at most 16.
    levels : int
        Number of levels, 1 to 3; from the second level on, new observations are derived from each combination.
    scorer : str
        Scorer of the solutions.
    final : str
        Rule that picks the answer: best, weighted or majority.
    observe : str
        Prompt template for observations, with {question}, {known} and {count}.
    plan : str
        Prompt template for a plan, with {question} and {known}.
    solve : str
        Prompt template for a solution, with {question} and {plan}.
    """
    combos = yield from _observe(problem, observe, observations, combine, levels=levels)
    places = uniforms(problem.key("shuffle"), len(combos))
    drawn = sorted(range(len(combos)), key=places.__getitem__)[:n]
    starts = [problem.ask(make_prompt(problem, plan, known=_known(combos[i]))) for i in drawn]
    plans = yield [Extend(one) for one in starts]
    written = yield [Extend(one.ask(make_prompt(problem, solve, plan=one.text))) for one in plans]
    solutions = [as_reply(problem, one) for one in written]
    with until_spent():
        rewards = yield Score(scorer, solutions)
        return settle(problem, solutions, rewards, final, combinations=len(combos))
    return elect(problem, solutions, combinations=len(combos))
