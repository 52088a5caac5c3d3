"""CoT-decoding: continue each of the likeliest first tokens greedily, and compare the margins of the answer tokens."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypeAlias

from intact._base.exact import exp, mean
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import elect, pick, take
from intact.reason.limits import Likeliest, one_of
from intact.reason.parts.likeliest import rivals

CHOICES = ("sum", "best")
Choice: TypeAlias = Annotated[str, partial(one_of, CHOICES)]


def margins(state: State) -> list[float]:
    """Return the probability of the likeliest token minus that of the second likeliest, at each position.

    If only one token is known, return its probability.
    """
    chances = [[exp(logprob) for logprob in place[:2]] for place in rivals(state)]
    return [place[0] - (place[1] if len(place) > 1 else 0.0) for place in chances]


def answer_span(state: State, answer: str) -> range:
    """Return the positions of the tokens of the last occurrence of the answer; all positions if it cannot be found.

    The state's last piece was written greedily, so its text consists of the likeliest tokens.
    """
    places = state.pieces[-1].top
    words = [place[0][0] for place in places]
    text = state.last
    start = text.rfind(answer)
    if start < 0 or not "".join(words).startswith(text):
        return range(len(words))
    ends = [sum(map(len, words[: i + 1])) for i in range(len(words))]
    touched = [i for i, end in enumerate(ends) if end > start and end - len(words[i]) < start + len(answer)]
    return range(touched[0], touched[-1] + 1)


def confidence(problem: Problem, state: State) -> float:
    """Return the mean margin over the tokens of the answer; 0 without an answer or without tokens."""
    answer = problem.answer(state)
    found = margins(state) if answer is not None else []
    span = answer_span(state, answer) if answer is not None and found else range(0)
    return mean([found[i] for i in span]) if len(span) else 0.0


@method("Wang & Zhou 2024, arXiv 2402.10200", group="samples and a vote", temperature=0.0)
def cot_decoding(problem: Problem, *, k: Likeliest = 10, choice: Choice = "sum") -> Steps:
    """Continue each of the k likeliest first tokens greedily, and return the answer written with the largest margins.

    Parameters
    ----------
    k : int
        Number of first tokens, at most 20.
    choice : str
        Selection rule: sum, the answer with the largest sum of margins; best, the answer of the completion with the
        largest margin.
    """
    first = yield Extend(problem.start, max_tokens=1, temperature=0.0, top_logprobs=k)
    words = [word for word, _ in first.top[0]] if rivals(first) else []
    words = words[first.why == "end" :]  # an end token cannot begin a completion
    begun = [problem.start.append(word, special=False) for word in words if word and "\ufffd" not in word]
    if not begun:
        return take(problem, first)
    texts = yield [Extend(start, temperature=0.0, top_logprobs=2) for start in begun]
    deltas = [confidence(problem, text) for text in texts]
    if choice == "best":
        return pick(problem, texts, deltas)
    return elect(problem, texts, deltas, margins=deltas)
