"""Pair prediction: how much likelier a model finds an answer after being told that someone else gave it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from intact._base.exact import exp
from intact.reason.parts.forcing import force_replies
from intact.reason.parts.prompting import make_prompt
from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.stats.pairs import pair_confidence

_TASK = "Reply with the final answer alone."
_ALONE = "{question}\n\n{task}{cue}"
_INFORMED = "{question}\n\nSomebody else answered: {answer}\n\n{task}{cue}"


class PairPrediction:
    """The probability of a completion's answer divided by its probability given that someone else gave the same answer.

    The score is in [0, 1]. Johnson et al. 2024, arXiv 2402.08733: C = p1(y) / p2(y | y) (`intact.stats.pairs`). A model
    that knows the answer has no need to cheat, and has C = 1. The probabilities are those of the answer as the whole
    reply, including its end token and without any other constraint, in the likeliest tokens that spell it. A completion
    without an answer scores 0. Deviations: the model is not trained on pairs but told about the other answer in words,
    so it is not calibrated and has no guarantee; ratios above 1 count as 1.

    Parameters
    ----------
    model : str
        The model that is asked, by the driver's name for it; by default the generating model.
    """

    name, digest = "pair_prediction", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order; the model is asked once about each distinct answer."""
        given = problem.answers(states)
        askers = {answer: state for answer, state in zip(given, states, strict=True) if answer is not None}
        cue = "\nReply:\n" if isinstance(problem.prompt, str) else ""
        prompts = [
            state.ask(make_prompt(problem, template, answer=answer, task=_TASK, cue=cue))
            for answer, state in askers.items()
            for template in (_ALONE, _INFORMED)
        ]
        chances = yield from force_replies(prompts, [answer for answer in askers for _ in range(2)], self._model)
        scores = dict(zip(askers, map(_confidence, chances[::2], chances[1::2]), strict=True))
        return [0.0 if answer is None else scores[answer] for answer in given]


def _confidence(alone: float, informed: float) -> float:
    """Return C from log-probabilities, rescaled so that the probabilities of long answers do not underflow."""
    most = max(alone, informed)
    return 0.0 if most == -math.inf else float(pair_confidence(exp(alone - most), exp(informed - most)))
