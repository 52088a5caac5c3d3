"""Checks of parameters' values, and annotations that make them part of a method's declaration.

``n: Count = 16`` declares an integer of at least 1. Where no name fits, the check is written into the annotation:
``rule: Annotated[str, partial(one_of, RULES)]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact.engine.sampling.parameters import MOST_TOP_LOGPROBS

TOGETHER: Final = 1 << 16
"""Texts that a method asks for at once, where several of its parameters multiply."""


def at_least(least: float, /, **values: float | None) -> None:
    """Raise ParameterError where a number is below the least allowed, by its name; None is fine."""
    _require(values, lambda value: value is None or value >= least, f"be at least {least}")


def within(low: float, high: float, /, **values: float) -> None:
    """Raise ParameterError where a number lies outside of [low, high], by its name."""
    _require(values, lambda value: low <= value <= high, f"lie in [{low:g}, {high:g}]")


def above(bound: float, /, **values: float) -> None:
    """Raise ParameterError where a number is not above the bound, by its name."""
    _require(values, lambda value: value > bound, f"be above {bound:g}")


def one_of(choices: Iterable[str], /, **values: str) -> None:
    """Raise ParameterError where a text is none of the choices, by its name."""
    known = list(choices)
    _require(values, lambda value: value in known, f"be one of {', '.join(known)}")


def filled(**values: str) -> None:
    """Raise ParameterError where a text is empty, by its name."""
    _require(values, bool, "not be empty")


def _require(values: Mapping[str, Any], holds: Callable[[Any], bool], what: str) -> None:
    for name, value in values.items():
        if not holds(value):
            raise ParameterError(f"{name} must {what}, got {value!r:.60}")


def together(count: int, what: str) -> None:
    """Raise ParameterError where a method would ask for more than `TOGETHER` texts at once, before it makes any."""
    if count > TOGETHER:
        raise ParameterError(f"{what} make {count:,} texts at once; at most {TOGETHER:,} are asked for")


def model_names(text: str) -> list[str]:
    """Return models' names, which commas separate; of an empty text one empty name, the model that writes."""
    return [name.strip() for name in text.split(",") if name.strip()] or [""]


class Need(NamedTuple):
    """The requirement that a parameter's value sets to the scorer, checked before the method begins.

    Attributes
    ----------
    least, most : float
        The range that scores must lie in.
    parts : bool
        If true, parts of texts are judged, which have no tokens.
    """

    least: float = -math.inf
    most: float = math.inf
    parts: bool = False

    def check(self, what: str, name: str, scorer: Any) -> None:
        """Raise ParameterError if a scorer, or its class, says of itself that it does not meet what `what` requires.

        A scorer states the range of its numbers in `least` and `most`, and in `reads` whether it reads "texts" or
        "tokens" (`intact.reason.scorer.Scorer`); of one that does not, nothing is known before it has judged.
        """
        least, most = getattr(scorer, "least", self.least), getattr(scorer, "most", self.most)
        if not (self.least <= least and most <= self.most):
            wanted = f"in [{self.least:g}, {self.most:g}]" if self.most < math.inf else f"of at least {self.least:g}"
            raise ParameterError(
                f"{what} needs scores {wanted}; those of the scorer {name} lie in [{least:g}, {most:g}]"
            )
        if self.parts and getattr(scorer, "reads", "texts") == "tokens":
            raise ParameterError(
                f"{what} judges parts of texts, which have no tokens, and so no log-probabilities; the scorer {name} "
                "reads these: judge whole texts (reduction=last), or choose a scorer that reads texts, such as p_true"
            )


class Needs:
    """Says what the values of a parameter require of the method's scorer: ``Needs(weighted=Need(...))``."""

    def __init__(self, **values: Need) -> None:
        self.values = values


class Named(NamedTuple):
    """Says that a parameter names something that the driver has: it is looked up before the method begins.

    Attributes
    ----------
    need : Need or None
        The requirement that the method always sets to the scorer.
    """

    kind: Literal["scorer", "model", "tool"]
    need: Need | None = None


class CommaList:
    """Says that a parameter's value is a list in one text, whose parts commas separate."""


class Follows(NamedTuple):
    """Says that a parameter takes the value of the user's sampling parameter of this name, where it is not given."""

    sampling: str


class Help(NamedTuple):
    """Describes a parameter where the docstring of its method does not."""

    text: str


Count: TypeAlias = Annotated[int, partial(at_least, 1)]
"""A number of at least 1."""
TextLength: TypeAlias = Annotated[int, partial(at_least, 1), Follows("max_tokens")]
"""The most tokens of a whole text that a method writes in parts: the user's `max_tokens` goes before the default."""
Natural: TypeAlias = Annotated[int, partial(at_least, 0)]
"""A number of at least 0."""
Likeliest: TypeAlias = Annotated[int, partial(within, 1, MOST_TOP_LOGPROBS)]
"""How many of the likeliest tokens a back end tells at each place."""
Share: TypeAlias = Annotated[float, partial(within, 0, 1)]
"""A share, from 0 to 1."""
Amount: TypeAlias = Annotated[float, partial(at_least, 0)]
"""A real number of at least 0."""
Positive: TypeAlias = Annotated[float, partial(above, 0)]
"""A real number above 0."""
Filled: TypeAlias = Annotated[str, filled]
"""A text that is not empty."""
Parts: TypeAlias = Annotated[str, CommaList()]
"""A list in one text, whose parts commas separate."""
Samples: TypeAlias = Annotated[int, partial(at_least, 1), Help("Number of samples.")]
"""A number of samples."""
MostSteps: TypeAlias = Annotated[int, partial(at_least, 1), Help("Maximum number of steps.")]
"""A number of steps at most."""
Delimiter: TypeAlias = Annotated[str, filled, Help("Text that ends a step.")]
"""A text between steps."""
ScorerName: TypeAlias = Annotated[str, Named("scorer"), Help("Scorer.")]
"""A scorer's name; a scorer itself does too."""
ChanceScorer: TypeAlias = Annotated[str, Named("scorer", Need(0, 1)), Help("Scorer with scores in [0, 1].")]
"""The same, of a scorer whose numbers lie in [0, 1]."""
WeightScorer: TypeAlias = Annotated[str, Named("scorer", Need(0)), Help("Scorer with scores of at least 0.")]
"""The same, of a scorer whose numbers are at least 0."""
ModelName: TypeAlias = Annotated[str, Named("model")]
"""A model's name in the driver; empty is the one that writes."""
ModelNames: TypeAlias = Annotated[str, CommaList(), Named("model")]
"""Models' names in the driver, separated by commas; empty is the one that writes."""
ToolName: TypeAlias = Annotated[str, Named("tool")]
"""The name of a tool; empty is none, where that is the default."""
