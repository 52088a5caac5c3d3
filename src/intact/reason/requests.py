"""Requests that a method yields: one, or a list served in parallel; it receives one result, or a list of results."""

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
    """Have a model continue a state; the result is a new `State`.

    Several extensions of one state are sampled independently. Fields that are None take the user's value, else the
    method's default.

    Attributes
    ----------
    stop : tuple of str
        Strings that end the extension; the matched string stays in the text. By default the user's value, as for the
        other fields.
    max_tokens : int
        Maximum number of tokens of this extension; the budget caps the whole text (`Budget.text`).
    temperature, top_p, top_k, min_p
        As in docs/sampling.md; temperature 0 is greedy.
    stop_below : float, optional
        Probability threshold: the extension ends before a position whose likeliest token is less probable (`why` is
        'uncertain').
    top_logprobs : int
        Number of likeliest tokens to report at each position, at most 20.
    regex, grammar : str
        Constraint that the extension must match.
    model : str
        Name of the model in the driver; by default the first.
    hidden : bool
        If true, report the hidden state from which the last token was sampled (`Piece.hidden`), if the back end can.
    spread : bool
        If true, report the spread of the full distribution at each position (`Piece.spread`), if the back end can.
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
    """Score states; the result is a list with one float per state.

    Attributes
    ----------
    scorer : Scorer or str
        The scorer, or the name of one that the driver knows.
    """

    scorer: Scorer | str
    states: Sequence[State]


@dataclass(frozen=True, slots=True)
class Race:
    """Extend states in parallel until `winners` of them are complete (`State.complete`); the result is a `Raced`.

    The runner with the fewest tokens comes first, with ties broken by order in the list. The others are cut at the last
    winner's token count, and nothing beyond it is ever charged.
    """

    runners: Sequence[Extend]
    winners: int = 1


class Raced(NamedTuple):
    """The result of a race.

    Attributes
    ----------
    states : list of State
        One per runner, in order; losers end with 'cancelled', unless they stopped on their own at that very token.
    winners : list of int
        Indices of the winners in finishing order; fewer than requested if too few runners stopped on their own.
    """

    states: list[State]
    winners: list[int]


@dataclass(frozen=True, slots=True)
class WriteTogether:
    """Have several workers of one model write a completion into a shared cache; the result is a `SharedText`.

    The fields are those of `intact.engine.shared_cache.SharedRequest` and are explained there. Sampling uses the user's
    or the method's parameters: temperature, top_p, top_k, min_p and typical_p.

    Attributes
    ----------
    state : State
        The context that all workers start from.
    model : str
        Name of the model in the driver; by default the first.
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
        Standard input of the program.
    seconds : float
        Wall-time limit; the program may use the CPU for all of it, and execute a million steps per second
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
            If `seconds` is invalid.
        """
        return ProgramLimits.of(self.seconds)


@dataclass(frozen=True, slots=True)
class Use:
    """Call a tool; the result is its `intact.reason.tool.ToolResult`.

    Attributes
    ----------
    tool : MethodTool or str
        The tool, or its name (`intact.reason.tools`).
    values : mapping
        The tool's inputs by name.
    """

    tool: MethodTool | str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Read a user's UTF-8 file of at most 1 MiB; the result is the text."""

    file: str


class MethodValue(Protocol):
    """A method, as returned by `intact.reason.find`."""

    @property
    def name(self) -> str:
        """The method's name."""


@dataclass(frozen=True, slots=True)
class CallMethod:
    """Call another method; the result is its `Answer`.

    Attributes
    ----------
    method : Method or str
        A method as returned by `find`, or a method's name.
    problem : Problem
        The caller's problem, or a different one.
    parameters : mapping
        The method's parameters.
    """

    method: MethodValue | str
    problem: Problem
    parameters: Mapping[str, Any] = field(default_factory=dict)


Request: TypeAlias = Extend | Score | Race | WriteTogether | RunProgram | Use | Read | CallMethod
"""The requests that a method may yield."""
