"""Ask a model about a completion: build the prompt, and compare the probabilities of two reply words."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError, SpentError
from intact._base.exact import exp
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend


def ask_about(problem: Problem, state: State, task: str) -> State:
    """Start a new state that asks a question about a problem and its answer."""
    cue = "\nReply:" if isinstance(problem.prompt, str) else ""
    template = "Question: {question}\n\nProposed answer: {text}\n\n{task}{cue}"
    return state.ask(make_prompt(problem, template, text=state.text, task=task, cue=cue))


def word_shares(
    problem: Problem, states: Sequence[State], task: str, words: tuple[str, str], model: str
) -> Part[list[float]]:
    """Ask a model about every completion; return the first word's share in the first token of each reply."""
    return [one for (one,) in (yield from tables_of_shares(problem, states, (task,), words, model=model))]


def tables_of_shares(
    problem: Problem, states: Sequence[State], tasks: Sequence[str], words: tuple[str, str], model: str
) -> Part[list[list[float]]]:
    """Ask a model several questions about every completion in one batch; return one share per question for each."""
    replies = yield [
        Extend(ask_about(problem, state, task), max_tokens=1, temperature=0.0, top_logprobs=20, model=model)
        for state in states
        for task in tasks
    ]
    shares = [share(state, *words) for state in replies]
    return [shares[i : i + len(tasks)] for i in range(0, len(shares), len(tasks))]


def share(state: State, word: str, other: str) -> float:
    """Return p(word) / (p(word) + p(other)) at the last token, summed over the known likeliest tokens.

    Case and surrounding white space are ignored; the share is 0.5 if neither word is among them.

    Raises
    ------
    SpentError
        If no token could be generated because the question fills the context.
    ParameterError
        If the back end does not return the likeliest tokens.
    """
    top = state.pieces[-1].top if state.pieces else ()
    if not top or not top[-1]:
        if state.why == "context":
            raise SpentError("a question about a text leaves no room in the context for a reply")
        raise ParameterError("the back end does not report log-probabilities of other tokens, which this scorer needs")
    mass = {word: 0.0, other: 0.0}
    for token, value in top[-1]:
        if token.strip().lower() in mass:
            mass[token.strip().lower()] += exp(value / LOGPROB_SCALE)
    total = mass[word] + mass[other]
    return mass[word] / total if total else 0.5
