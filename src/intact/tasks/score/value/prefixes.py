"""Tables of prefix values: the share of a prefix's continuations that end in a right answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import write_whole
from intact.reason.driving.services import read_text
from intact.stats.calibration import auroc
from intact.tasks.score.value.noise import noisy_score, normal

KIND: Final = "intact prefix values"
VERSION: Final = 1
MOST: Final = 1 << 20
"""Maximum number of continuations of a prefix."""


def digest_of(text: str) -> str:
    """Return the name of a prefix in a table: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class PrefixCount(NamedTuple):
    """Continuations of a prefix: the number of right ones, their number, and the prefix's number of steps."""

    right: int
    total: int
    steps: int

    @property
    def value(self) -> float:
        """The share of right continuations."""
        return self.right / self.total


class ValuedProblem(NamedTuple):
    """A problem: its right answer in canonical form, and its prefixes by digest."""

    answer: str
    prefixes: Mapping[str, PrefixCount]


@dataclass(frozen=True)
class PrefixTable:
    """Values of prefixes by problem, and the right answers.

    Attributes
    ----------
    continuations : int
        The number of continuations by which the value of a prefix is estimated.
    rate : float
        The share of right texts among those that the prefixes were taken from, in (0, 1).
    problems : mapping of str to ValuedProblem
    origin : mapping
        The task, model and sampling that the texts come from.
    """

    continuations: int
    rate: float
    problems: Mapping[str, ValuedProblem]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.continuations <= MOST:
            raise ParameterError(f"continuations must lie between 1 and {MOST:,}, got {self.continuations}")
        if not 0 < self.rate < 1:
            raise ParameterError(f"the rate of right texts must lie between 0 and 1, got {self.rate}")

    def of(self, problem: str) -> ValuedProblem:
        """Return a problem's values.

        Raises
        ------
        ParameterError
            If the table lacks the problem.
        """
        if problem not in self.problems:
            raise ParameterError(f"the table of prefix values has no problem {problem:.80}")
        return self.problems[problem]

    def to_json(self) -> str:
        """Return the content of its file."""
        about: dict[str, Any] = {"kind": KIND, "version": VERSION, "continuations": self.continuations}
        about |= {"rate": self.rate, "origin": self.origin, "problems": self.problems}
        about["problems"] = {
            name: {"answer": one.answer, "prefixes": {key: list(count) for key, count in one.prefixes.items()}}
            for name, one in self.problems.items()
        }
        return json.dumps(about) + "\n"

    @property
    def digest(self) -> str:
        """The SHA-256 of its content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def write(self, file: Path) -> None:
        """Write it as JSON, atomically."""
        write_whole(file, self.to_json())

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file written by `write`.

        Raises
        ------
        FormatError
            If it is not such a file.
        """
        try:
            value = strict_json.parse(read_text(str(file)), "the text", error=FormatError)
            if not isinstance(value, dict) or value.get("kind") != KIND:
                raise ValueError(f"expected an object of kind {KIND!r}")
            if value["version"] != VERSION:
                raise ValueError(f"it has version {value['version']!r}; this program reads version {VERSION}")
            problems = {name: _problem(one) for name, one in value["problems"].items()}
            rate, origin = value["rate"], value["origin"]
            if isinstance(rate, bool) or not isinstance(rate, float) or not isinstance(origin, dict):
                raise ValueError("rate must be a number between 0 and 1, origin an object")
            return cls(_integer(value["continuations"]), rate, problems, origin)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{file} is no table written by `intact learn prefixes`: {error}") from error


def _problem(value: Mapping[str, Any]) -> ValuedProblem:
    if not isinstance(value["answer"], str):
        raise ValueError("an answer must be a text")
    return ValuedProblem(value["answer"], {key: _count(*one) for key, one in value["prefixes"].items()})


def _count(right: Any, count: Any, steps: Any) -> PrefixCount:
    found = PrefixCount(_integer(right), _integer(count), _integer(steps))
    if not 0 <= found.right <= found.total or not 1 <= found.total <= MOST:
        raise ValueError(f"a prefix has {found.right} right of {found.total} continuations")
    return found


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected an integer, got {value!r:.40}")
    return value


def score_of_prefix(table: PrefixTable, quality: float, problem: str, seed: int, text: str, value: float) -> float:
    """Return the score of a text whose value is known, with noise keyed by problem, seed and text."""
    return noisy_score(value, quality, normal(f"prefix|{seed}|{problem}|{digest_of(text)}"), table.rate)


def reached_auroc(table: PrefixTable, quality: float, seeds: Sequence[int] = range(16), first: bool = False) -> float:
    """Return the AUROC with which scores of prefixes predict the outcome of one more continuation, within problems.

    Each continuation is predicted from the others of its prefix. With a perfect scorer this is the bound that unknown
    outcomes set. NaN if no problem has both outcomes, or prefixes have a single continuation.

    Parameters
    ----------
    first : bool
        If true, only prefixes of one step.
    """
    won = weight = 0.0
    for name, problem in table.problems.items():
        for seed in seeds:
            pairs = [
                pair
                for key, count in problem.prefixes.items()
                if count.total > 1 and (not first or count.steps == 1)
                for pair in _left_out(count, normal(f"prefix|{seed}|{name}|{key}"), quality, table.rate)
            ]
            good = sum(right for _, right in pairs)
            share = auroc([score for score, _ in pairs], [right for _, right in pairs]) if pairs else None
            if share is not None:
                won += share * good * (len(pairs) - good)
                weight += good * (len(pairs) - good)
    return won / weight if weight else float("nan")


def _left_out(count: PrefixCount, noise: float, quality: float, rate: float) -> Iterator[tuple[float, bool]]:
    """Yield each continuation's outcome with the score of the prefix by its other continuations."""
    for right, times in ((True, count.right), (False, count.total - count.right)):
        if times:
            value = (count.right - right) / (count.total - 1)
            yield from [(noisy_score(value, quality, noise, rate), right)] * times
