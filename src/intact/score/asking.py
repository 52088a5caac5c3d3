"""Asking a model about a text: the question, and the chance of one word rather than another."""

from __future__ import annotations

from intact.reason.exact import exp
from intact.reason.state import LOGPROB_SCALE, State


def asked(state: State, task: str) -> State:
    """Begin anew with a question about a problem and the answer that a text gives to it."""
    if isinstance(state.prompt, str):
        return state.ask(f"Question: {state.prompt}\nProposed answer: {state.text}\n{task}\nReply:")
    question = "\n".join([content for role, content in state.prompt if role == "user"])
    return state.ask((("user", f"Question: {question}\n\nProposed answer: {state.text}\n\n{task}"),))


def share(state: State, word: str, other: str) -> float:
    """Return p(word) / (p(word) + p(other)) for what was written last, over the likeliest tokens that are known.

    Upper and lower case, and white space around, are alike; 0.5 where neither word is among them.
    """
    mass = {word: 0.0, other: 0.0}
    for token, value in state.top[-1] if state.top else ():
        if token.strip().lower() in mass:
            mass[token.strip().lower()] += exp(value / LOGPROB_SCALE)
    total = mass[word] + mass[other]
    return mass[word] / total if total else 0.5
