"""Pair prediction: how much likelier a model finds an answer once somebody else has given it."""

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
    """The chance of a text's answer, over its chance once somebody else has given it: at most 1, in [0, 1].

    Johnson et al. 2024, arXiv 2402.08733: C = p1(y) / p2(y | y) (`intact.stats.pairs`). Who knows need not cheat, and
    has C = 1. Chances are those of the answer as a whole reply with its end token, written without a constraint on
    anything else, in the likeliest tokens that spell it. A text without an answer has 0. Deviations: the model is not
    trained on pairs but told of the other answer in words, so it is not calibrated and nothing is proved; p1 above p2
    counts as 1.

    Parameters
    ----------
    model : str
        Who is asked, by the driver's name; by default the model that writes.
    """

    name, digest = "pair_prediction", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order; each answer is asked about once."""
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
    """Return C by logarithms of chances, scaled so that those of long answers do not vanish."""
    most = max(alone, informed)
    return 0.0 if most == -math.inf else float(pair_confidence(exp(alone - most), exp(informed - most)))
