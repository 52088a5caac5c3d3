"""Nudging: a base model writes, and an aligned model supplies a few words wherever the base model is unsure."""

from __future__ import annotations

import re
from dataclasses import replace

from intact.reason import Extend, Part, Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, ModelName, Share
from intact.reason.parts.stepwise import or_spent, until_spent

SAME = 3
"""Number of identical nudges in a row that end a completion."""


def words(text: str, whole: bool) -> list[str]:
    """Return the words of a nudge, each with its leading space; the last one is dropped if it may be unfinished."""
    found = re.findall(r"\s*\S+|\s+$", text)
    return found if whole or len(found) < 2 else found[:-1]


def _accept(text: State, nudge: list[str], gamma: float) -> Part[tuple[State, int]]:
    """Append words of a nudge, at least the first, until the base model is sure or starts the next word itself."""
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
    """Write with a base model, and have a small aligned model write the next words wherever the base model is unsure.

    Parameters
    ----------
    nudger : str
        Name of the small aligned model.
    gamma : float
        Probability of the likeliest token below which the base model is unsure.
    tokens : int
        Maximum number of tokens per nudge.
    rounds : int
        Maximum number of nudges.
    max_tokens : int
        Maximum number of tokens that the base model writes; the user's value takes precedence over the default.
    chat : bool
        If true, the nudger receives a plain-text prompt as a conversation, formatted by its own chat template.
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
