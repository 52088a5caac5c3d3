"""Validation of parameter values, and annotations that make the checks part of a method's declaration.

``n: Count = 16`` declares an integer of at least 1. If no alias fits, the check goes into the annotation:
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
"""Maximum number of completions that a method requests at once, for counts that are products of several parameters."""


def at_least(least: float, /, **values: float | None) -> None:
    """Raise ParameterError if a named number is below the minimum; None is allowed."""
    _require(values, lambda value: value is None or value >= least, f"be at least {least}")


def within(low: float, high: float, /, **values: float) -> None:
    """Raise ParameterError if a named number lies outside [low, high]."""
    _require(values, lambda value: low <= value <= high, f"lie in [{low:g}, {high:g}]")


def above(bound: float, /, **values: float) -> None:
    """Raise ParameterError if a named number is not greater than the bound."""
    _require(values, lambda value: value > bound, f"be above {bound:g}")


def one_of(choices: Iterable[str], /, **values: str) -> None:
    """Raise ParameterError if a named string is not one of the choices."""
    known = list(choices)
    _require(values, lambda value: value in known, f"be one of {', '.join(known)}")


def filled(**values: str) -> None:
    """Raise ParameterError if a named string is empty."""
    _require(values, bool, "not be empty")


def _require(values: Mapping[str, Any], holds: Callable[[Any], bool], what: str) -> None:
    for name, value in values.items():
        if not holds(value):
            raise ParameterError(f"{name} must {what}, got {value!r:.60}")


def together(count: int, what: str) -> None:
    """Raise ParameterError up front if a method would request more than `TOGETHER` completions at once."""
    if count > TOGETHER:
        raise ParameterError(f"{what} give {count:,} texts at once; at most {TOGETHER:,} are allowed")


def model_names(text: str) -> list[str]:
    """Split a comma-separated list of model names; an empty string gives one empty name, the main model."""
    return [name.strip() for name in text.split(",") if name.strip()] or [""]


class Need(NamedTuple):
    """The requirement that a parameter's value places on the scorer, checked before the method begins.

    Attributes
    ----------
    least, most : float
        The range in which scores must lie.
    parts : bool
        If true, parts of completions are scored, which have no tokens.
    """

    least: float = -math.inf
    most: float = math.inf
    parts: bool = False

    def check(self, what: str, name: str, scorer: Any) -> None:
        """Raise ParameterError if what a scorer (or its class) declares does not meet this requirement of `what`.

        A scorer declares the range of its scores in `least` and `most`, and in `reads` whether it reads "texts" or
        "tokens" (`intact.reason.scorer.Scorer`). A scorer without such declarations is accepted.
        """
        least, most = getattr(scorer, "least", self.least), getattr(scorer, "most", self.most)
        if not (self.least <= least and most <= self.most):
            wanted = f"in [{self.least:g}, {self.most:g}]" if self.most < math.inf else f"of at least {self.least:g}"
            raise ParameterError(
                f"{what} needs scores {wanted}, but those of the scorer {name} lie in [{least:g}, {most:g}]"
            )
        if self.parts and getattr(scorer, "reads", "texts") == "tokens":
            raise ParameterError(
                f"{what} scores parts of texts, which have no tokens and no log-probabilities, but the scorer {name} "
                "needs them: score whole texts (reduction=last), or choose a scorer that reads texts, such as p_true"
            )


class Needs:
    """Annotation: requirements of the parameter's values on the method's scorer, ``Needs(weighted=Need(...))``."""

    def __init__(self, **values: Need) -> None:
        self.values = values


class Named(NamedTuple):
    """Annotation: the parameter names something that the driver knows, which is looked up before the method begins.

    Attributes
    ----------
    need : Need or None
        The requirement that the method always places on the scorer.
    """

    kind: Literal["scorer", "model", "tool"]
    need: Need | None = None


class CommaList:
    """Annotation: the value is a comma-separated list."""


class Follows(NamedTuple):
    """Annotation: by default, the parameter takes the value of the user's sampling parameter of this name."""

    sampling: str


class Help(NamedTuple):
    """Annotation: help for a parameter that its method's docstring does not describe."""

    text: str


Count: TypeAlias = Annotated[int, partial(at_least, 1)]
"""An integer of at least 1."""
TextLength: TypeAlias = Annotated[int, partial(at_least, 1), Follows("max_tokens")]
"""Maximum number of tokens of a completion generated in parts; the user's `max_tokens` overrides the default."""
Natural: TypeAlias = Annotated[int, partial(at_least, 0)]
"""An integer of at least 0."""
Likeliest: TypeAlias = Annotated[int, partial(within, 1, MOST_TOP_LOGPROBS)]
"""The number of likeliest tokens that a back end reports at each position."""
Share: TypeAlias = Annotated[float, partial(within, 0, 1)]
"""A fraction from 0 to 1."""
Amount: TypeAlias = Annotated[float, partial(at_least, 0)]
"""A real number of at least 0."""
Positive: TypeAlias = Annotated[float, partial(above, 0)]
"""A real number above 0."""
Filled: TypeAlias = Annotated[str, filled]
"""A non-empty string."""
Parts: TypeAlias = Annotated[str, CommaList()]
"""A comma-separated list."""
Samples: TypeAlias = Annotated[int, partial(at_least, 1), Help("Number of samples.")]
"""A number of samples."""
MostSteps: TypeAlias = Annotated[int, partial(at_least, 1), Help("Maximum number of steps.")]
"""A maximum number of steps."""
Delimiter: TypeAlias = Annotated[str, filled, Help("Text that ends a step.")]
"""A separator between steps."""
ScorerName: TypeAlias = Annotated[str, Named("scorer"), Help("Name of the scorer.")]
"""A scorer's name, or a scorer."""
ChanceScorer: TypeAlias = Annotated[str, Named("scorer", Need(0, 1)), Help("Scorer with scores in [0, 1].")]
"""A scorer with scores in [0, 1], or its name."""
WeightScorer: TypeAlias = Annotated[str, Named("scorer", Need(0)), Help("Scorer with scores of at least 0.")]
"""A scorer with scores of at least 0, or its name."""
ModelName: TypeAlias = Annotated[str, Named("model")]
"""Name of a model in the driver; empty for the main model."""
ModelNames: TypeAlias = Annotated[str, CommaList(), Named("model")]
"""Names of models in the driver, separated by commas; empty for the main model."""
ToolName: TypeAlias = Annotated[str, Named("tool")]
"""Name of a tool; empty for no tool, if that is the default."""
