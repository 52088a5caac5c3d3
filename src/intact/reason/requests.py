"""The requests that a method yields: one, or a list that is served side by side; it gets the result, or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from intact.reason.problem import Problem, State
from intact.reason.scorer import Scorer
from intact.reason.tool import MethodTool
from intact.tools.sandbox import ProgramLimits


@dataclass(frozen=True, slots=True)
class Extend:
    """Have a model go on from a state; the result is a new `State`.

    Several extensions of one state draw independently. What is None is the user's wish, else the method's default.

    Attributes
    ----------
    stop : tuple of str
        Texts that end the extension; the one that did stays in the text. By default the user's wish, as for the rest.
    max_tokens : int
        The most tokens of this extension; a whole text is capped by the budget (`Budget.text`).
    temperature, top_p, top_k, min_p
        As in docs/sampling.md; temperature 0 is greedy.
    stop_below : float, optional
        The extension ends before a token where the likeliest has a smaller probability (`why` is 'uncertain').
    top_logprobs : int
        How many of the likeliest tokens to report with each token, to 20.
    regex, grammar : str
        What the extension must match.
    model : str
        Which of the models the driver was given; by default the first.
    hidden : bool
        Whether to report the hidden state that the last token was drawn from (`Piece.hidden`), where the back end can.
    spread : bool
        If true, report the spread of the whole distribution with each token (`Piece.spread`), where the back end can.
    """

    state: State
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop_below: float | None = None
    top_logprobs: int = 0
    regex: str | None = None
    grammar: str | None = None
    model: str = ""
    hidden: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """Judge states; the result is a list of as many floats.

    Attributes
    ----------
    scorer : Scorer or str
        The scorer, or the name of one that the driver knows.
    """

    scorer: Scorer | str
    states: Sequence[State]


@dataclass(frozen=True, slots=True)
class Race:
    """Extend side by side until `winners` have come to an end of their own (`State.complete`); the result is a `Raced`.

    Who ends with fewer tokens is first, and of equals the one that stands first in the list. The others are cut at the
    last winner's count of tokens, and nothing beyond it is ever charged.
    """

    runners: Sequence[Extend]
    winners: int = 1


class Raced(NamedTuple):
    """The end of a race.

    Attributes
    ----------
    states : list of State
        One for each runner, in their order; losers end with 'cancelled', unless their own end came at that very token.
    winners : list of int
        Who won, the first first; fewer than asked for, if too few came to an end.
    """

    states: list[State]
    winners: list[int]


@dataclass(frozen=True, slots=True)
class WriteTogether:
    """Have workers of one model write a text into a shared cache; the result is a `SharedText`.

    The fields are those of `intact.engine.shared_cache.SharedRequest`, which explains them. Sampling is the user's, or
    the method's: temperature, top_p, top_k, min_p and typical_p.

    Attributes
    ----------
    state : State
        What all see first.
    model : str
        Which of the models the driver was given; by default the first.
    """

    state: State
    n: int
    tokens: int
    layout: str
    doubt: int
    conclude: int
    mark: str
    delimiter: str
    ends: str
    finish: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class RunProgram:
    """Run a Python program in the sandbox; the result is an `intact.tools.sandbox.Outcome`.

    Attributes
    ----------
    stdin : str, optional
        What it may read.
    seconds : float
        Wall time; it may compute all of it, and take a million steps in each second
        (`intact.tools.sandbox.ProgramLimits`).
    """

    code: str
    stdin: str | None = None
    seconds: float = 10.0

    @property
    def limits(self) -> ProgramLimits:
        """The limits of the program.

        Raises
        ------
        ParameterError
            If the seconds make no sense.
        """
        return ProgramLimits.of(self.seconds)


@dataclass(frozen=True, slots=True)
class Use:
    """Use a tool; the result is its `intact.reason.tool.ToolResult`.

    Attributes
    ----------
    tool : MethodTool or str
        The tool, or its name (`intact.reason.tools`).
    values : mapping
        Its inputs by name.
    """

    tool: MethodTool | str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Read a file of the user's, of at most 1 MiB in UTF-8; the result is its text."""

    file: str


class MethodValue(Protocol):
    """A method, as `intact.reason.find` gives it."""

    @property
    def name(self) -> str:
        """Its name."""


@dataclass(frozen=True, slots=True)
class CallMethod:
    """Use another method; the result is its `Answer`.

    Attributes
    ----------
    method : Method or str
        As `find` gives it, or the name that it finds it by.
    problem : Problem
        The caller's, or another one.
    parameters : mapping
        Those of the method.
    """

    method: MethodValue | str
    problem: Problem
    parameters: Mapping[str, Any] = field(default_factory=dict)


Request: TypeAlias = Extend | Score | Race | WriteTogether | RunProgram | Use | Read | CallMethod
"""What a method may ask for by `yield`."""
