"""The verdict on the receipt of a run, and the exception that ends a replay with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intact.receipts.verify import Outcome


@dataclass(frozen=True)
class RunVerdict:
    """The verdict on the receipt of a run.

    Attributes
    ----------
    outcome : {'true', 'partial', 'false', 'unverifiable'}
        As for the receipt of a single answer.
    what : str or None
        The part that differs or is missing: for a completion as in `intact.receipts.verify`, otherwise one of the parts
        listed in docs/spec/receipts.md, Runs.
    entry : int or None
        Index of the first false entry.
    position : int or None
        Position of the first false token in its output.
    detail : str
        An explanation.
    checked : int
        Number of tokens that the model confirmed.
    given : int
        Number of tokens given to the model for this purpose: outputs and their prompts, with each distinct prompt
        counted once. With a cache, fewer are computed.
    programs : int
        Number of programs and tool calls that were repeated with the same result.
    """

    outcome: Outcome
    what: str | None = None
    entry: int | None = None
    position: int | None = None
    detail: str = ""
    checked: int = 0
    given: int = 0
    programs: int = 0


class DecidedError(Exception):
    """Raised when a replay has reached a verdict."""

    def __init__(self, verdict: RunVerdict) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


def false(what: str, entry: int | None, detail: str, position: int | None = None) -> DecidedError:
    """Return the error for a false claim, with its location."""
    return DecidedError(RunVerdict("false", what, entry, position, detail=detail))
