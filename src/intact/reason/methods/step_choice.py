"""Step-wise best-of-N with the model as its own judge, as in the study of o1's reasoning patterns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Delimiter, ModelName, one_of
from intact.reason.parts.comparing import choose
from intact.reason.parts.prompting import make_prompt
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.resampling import multinomial

SELECT = """\
{question}

The solution so far:
{solution}

Here are several next steps:

{steps}

Decide which of them is the most correct. End with the line "Choice: " and its number."""

NOTHING = "(nothing yet)"


def distinct(states: Sequence[State]) -> list[State]:
    """Drop states whose newest step repeats an earlier one, ignoring white space.

    A final step and a step that can be continued are never duplicates of each other.
    """
    found: dict[tuple[str, bool], State] = {}
    for state in states:
        found.setdefault((state.last.strip(), state.ended), state)
    return list(found.values())


@method("Wu et al. 2024, arXiv 2410.13639", group="search step by step", temperature=0.7)
def step_choice(
    problem: Problem,
    *,
    k: Count = 4,
    steps: Count = 25,
    rule: Annotated[str, partial(one_of, ("judge", "random"))] = "judge",
    judge: ModelName = "",
    select: str = SELECT,
    delimiter: Delimiter = "\n\n",
) -> Steps:
    """Write k next steps, have a model choose one by its number, and continue from it until the sequence ends.

    Parameters
    ----------
    k : int
        Number of next steps to choose from.
    steps : int
        Maximum number of chosen steps; after that the sequence is written to the end.
    rule : str
        Selection rule: judge, a model chooses; random, one of the k is drawn, as a control.
    judge : str
        Name of the model that chooses; by default the main model.
    select : str
        Prompt template for a choice, with {question}, {solution} and {steps}.
    """
    text, taken, chosen = problem.start, 0, list[int | None]()
    with until_spent() as spent:
        while taken < steps and not text.ended:
            written = yield [Extend(text, stop=(delimiter,))] * k
            options = distinct(written)
            choice: int | None = 0
            if rule == "random":
                options = [written[multinomial(problem.key("choice", taken), [1] * k, 1)[0]]]
            if len(options) > 1:
                listed = "\n\n".join([f"Step {number}:\n{state.last}" for number, state in enumerate(options, 1)])
                prompt = make_prompt(problem, select, solution=text.text.strip() or NOTHING, steps=listed)
                (choice,) = yield from choose([text.ask(prompt)], len(options), judge)
                chosen.append(choice)
            text, taken = options[choice or 0], taken + 1
        if not text.ended:
            text = yield Extend(text)
    return or_spent(take(problem, text, steps=taken, choices=chosen), spent)
