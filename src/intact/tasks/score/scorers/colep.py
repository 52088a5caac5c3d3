"""P(true) of a claim, its negation and related claims, corrected by the rules between them (COLEP)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from intact.reason.problem import Problem, State
from intact.reason.registry import Part
from intact.stats.rules import corrected, exactly_one, implies
from intact.tasks.score.prompts import tables_of_shares

_REPLY = "Reply with one word, True or False."
_RIGHT, _WRONG, _SOUND, _SLIPPED = range(4)
_QUESTIONS: Final = {
    _RIGHT: f"Is the proposed answer correct, as far as it goes? {_REPLY}",
    _WRONG: f"Is the proposed answer wrong? {_REPLY}",
    _SOUND: f"Is every calculation and every conclusion in the proposed answer right? {_REPLY}",
    _SLIPPED: f"Is there a mistake in a calculation or in a conclusion of the proposed answer? {_REPLY}",
}
WEIGHT: Final = 5.0
"""Weight of each rule, in nats: a world that violates it counts 1/148 as much."""
RULES: Final = (
    exactly_one((_RIGHT, _WRONG), WEIGHT),
    exactly_one((_SOUND, _SLIPPED), WEIGHT),
    implies(_SOUND, _RIGHT, WEIGHT),
    implies(_WRONG, _SLIPPED, WEIGHT),
)


class Colep:
    """The probability that an answer is right, from four questions about it whose answers constrain each other.

    Kang et al. 2024, arXiv 2403.11348 (COLEP): the answer is right or wrong; it is sound or has a mistake; a sound
    answer is right; a wrong answer has a mistake. The probabilities are p(True) as for `PTrue`; the corrected
    probability of the first claim is computed exactly over all 16 worlds (`intact.stats.rules`). A model that agrees
    equally with all four claims gives no information about any completion.

    Deviations: the claims concern a completion and are put to a language model, rather than labels and attributes of
    images; we use one circuit, whereas theirs mixes several with the uncorrected probability; the weights are not
    learnt; and we omit the conformal sets, whose certificates assume Gaussian noise.

    Parameters
    ----------
    model : str
        The model that judges, by the driver's name for it; by default the generating model.
    """

    name, digest = "colep", ""
    version = 1
    least, most = 0.0, 1.0

    def __init__(self, model: str = "") -> None:
        self._model = model

    def score(self, problem: Problem, states: Sequence[State]) -> Part[list[float]]:
        """Return the scores, in order."""
        tables = yield from tables_of_shares(
            problem, states, list(_QUESTIONS.values()), ("true", "false"), model=self._model
        )
        return [float(corrected(chances, RULES)[_RIGHT]) for chances in tables]
