"""How often guesses of a kind come true, measured as texts go on, whether or not the guesses were run."""

from __future__ import annotations

from collections.abc import Sequence

CEILING = 0.98


class Acceptance:
    """A frequency for each class of guesses: decaying counts over a prior.

    Parameters
    ----------
    priors : sequence of float
        What to believe of each class at first.
    weight : float
        How many observations the prior is worth.
    memory : float
        How many observations count: older ones fade by 1 - 1 / memory with each new one of the class.
    """

    def __init__(self, priors: Sequence[float], weight: float = 6.0, memory: float = 300.0) -> None:
        self._priors, self._weight, self._keep = priors, weight, 1 - 1 / memory
        self._hits, self._trials = [0.0] * len(priors), [0.0] * len(priors)
        self.chances = list(priors)

    def observe(self, kind: int, hit: bool) -> None:
        """A guess of a class came true or not."""
        self._hits[kind] = hits = self._keep * self._hits[kind] + hit
        self._trials[kind] = trials = self._keep * self._trials[kind] + 1
        self.chances[kind] = (hits + self._priors[kind] * self._weight) / (trials + self._weight)


class Luck:
    """How much oftener than on average a sequence's guesses come true: decaying sums of hits over expected hits."""

    __slots__ = ("_expected", "_hits", "factor")

    WEIGHT = 3.0
    KEEP = 1 - 1 / 24

    def __init__(self) -> None:
        self._hits = self._expected = 0.0
        self.factor = 1.0

    def observe(self, chance: float, hit: bool) -> None:
        """A guess that had this chance on average came true or not."""
        self._hits = self.KEEP * self._hits + hit
        self._expected = self.KEEP * self._expected + chance
        self.factor = (self._hits + self.WEIGHT) / (self._expected + self.WEIGHT)
