"""Choice shuffling: ask with the choices in several orders, so that position bias cancels out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_uppercase

from intact.reason import Extend, Problem, Prompt, Steps, method
from intact.reason.aggregate.votes import elect, elected, vote
from intact.reason.limits import Count


def lettered(choices: Sequence[str]) -> str:
    """Return the choices in the format that tasks use, each on its own line after its letter."""
    return "\n".join([f"{letter}) {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)])


def in_order(prompt: Prompt, choices: Sequence[str], order: Sequence[int]) -> Prompt | None:
    """Return a prompt with its choices reordered; None if its last turn does not list them.

    If they are listed more than once, the last list is reordered.
    """
    text = prompt if isinstance(prompt, str) else prompt[-1][1] if prompt else ""
    before, found, after = text.rpartition(lettered(choices))
    if not found:
        return None
    turned = before + lettered([choices[place] for place in order]) + after
    return turned if isinstance(prompt, str) else (*prompt[:-1], (prompt[-1][0], turned))


@method(
    "Nori et al. 2023, arXiv 2311.16452 (Medprompt); Nori et al. 2024, arXiv 2411.03590",
    group="samples and a vote",
    temperature=0.7,
)
def choice_shuffling(problem: Problem, *, n: Count = 5) -> Steps:
    """Ask a multiple-choice question n times, rotating the choices by one place each time, and vote.

    A problem without choices is sampled unchanged.

    Parameters
    ----------
    n : int
        Number of copies of the question; with a multiple of the number of choices, each choice appears in every place
        equally often.
    """
    choices = [str(choice) for choice in problem.data.get("choices", ())]
    count = len(choices)
    orders = [[(place + turn) % count for place in range(count)] for turn in range(n)] if count else []
    prompts = [in_order(problem.prompt, choices, order) for order in orders]
    if not count or prompts[0] is None or count > len(ascii_uppercase):
        return elect(problem, (yield [Extend(problem.start)] * n))
    texts = yield [Extend(problem.ask(prompt or problem.prompt)) for prompt in prompts]
    letters = ascii_uppercase[:count]
    named = [
        letters[order[letters.index(answer)]] if answer and answer in letters else None
        for order, answer in zip(orders, problem.answers(texts), strict=True)
    ]
    answer = elected(vote(named), named, texts, None)
    return replace(answer, details={"shown": problem.answers(texts), "meant": named})
