"""Nudging: a base model writes, and where it is unsure an aligned one gives it some words."""

from __future__ import annotations

import re
from dataclasses import replace

from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, ModelName, Share
from intact.reason.parts.stepwise import or_spent, until_spent

SAME = 3
"""Equal nudges in a row that end a text."""


def words(text: str, whole: bool) -> list[str]:
    """Return the words of a nudge, each with the space before it; without the last one if that may be unfinished."""
    found = re.findall(r"\s*\S+|\s+$", text)
    return found if whole or len(found) < 2 else found[:-1]


def _accept(text: State, nudge: list[str], gamma: float) -> Part[tuple[State, int]]:
    """Append words of a nudge, the first always, until the base is sure, or begins the next word itself."""
    text, taken = text.append(nudge[0], special=False), 1
    for word in nudge[1:]:
        sure = yield Extend(text, max_tokens=1, stop_below=gamma)
        if sure.ended or sure.why != "uncertain":
            break
        own = yield Extend(text, max_tokens=1)
        if own.ended or (own.last and word.startswith(own.last)):
            break
        text, taken = text.append(word, special=False), taken + 1
    return text, taken


@method("Fei et al. 2024, arXiv 2410.09300", version=2, group="races, and how long a text thinks", temperature=0.0)
def nudging(
    problem: Problem,
    *,
    nudger: ModelName = "nudger",
    gamma: Share = 0.4,
    tokens: Count = 16,
    rounds: Count = 150,
    max_tokens: Count = 512,
    chat: bool = True,
) -> Steps:
    """Write by a base model, and have a small aligned model write the next words wherever the base is unsure.

    Parameters
    ----------
    nudger : str
        The small aligned model, by the driver's name.
    gamma : float
        The probability of its likeliest token below which the base is unsure.
    tokens : int
        Tokens of a nudge, at most.
    rounds : int
        Nudges, at most.
    max_tokens : int
        The most tokens that the base writes in all; the user's wish goes before the default.
    chat : bool
        Whether the nudger gets a prompt that is a text as a conversation, by its own chat template.
    """
    text, nudged, taken = problem.start, 0, 0
    last: list[list[str]] = []
    with until_spent() as spent:
        while text.length < max_tokens:
            text = yield Extend(text, max_tokens=max_tokens - text.length, stop_below=gamma)
            if text.why != "uncertain" or nudged == rounds:
                break
            prompt = problem.prompt
            reader = replace(text, prompt=(("user", prompt),)) if chat and isinstance(prompt, str) else text
            nudge = yield Extend(reader, max_tokens=tokens, model=nudger)
            written = nudge.text[len(text.text) :]
            given = words(written, nudge.why != "length")
            if not given:
                break
            nudged, last = nudged + 1, [*last, given][-SAME:]
            text, count = yield from _accept(text, given, gamma)
            taken += count
            if (nudge.ended and count == len(given)) or (len(last) == SAME and last.count(given) == SAME):
                break
    return or_spent(take(problem, text, nudges=nudged, words=taken), spent)
