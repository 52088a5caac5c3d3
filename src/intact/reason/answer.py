"""What comes back: a method's answer, what it cost, and the whole result."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from intact.reason.state import State

if TYPE_CHECKING:
    from intact.run_receipts.document import RunReceipt


class Cost(NamedTuple):
    """What was spent. Cache hits and rejected guesses change nothing here, so that a replay costs the same.

    Attributes
    ----------
    tokens : int
        Tokens that models wrote.
    prefill : int
        Tokens that a model had to read: each distinct text once a problem, what it wrote itself not at all.
    operations : int
        Integer multiply-adds for both, as they are without any cache.
    scores, runs : int
        States that scorers judged; programs that were run.
    sequential : int
        Tokens one after the other: of what runs side by side, the longest counts.
    seconds : float
        Wall time; the one figure that differs from run to run.
    """

    tokens: int = 0
    prefill: int = 0
    operations: int = 0
    scores: int = 0
    runs: int = 0
    sequential: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """The sum, of what happened one after the other."""
        return Cost(*map(operator.add, self, other))

    def minus(self, other: Cost) -> Cost:
        """The difference."""
        return Cost(*map(operator.sub, self, other))

    def as_dict(self) -> dict[str, Any]:
        """The figures by their names."""
        return self._asdict()


@dataclass(frozen=True)
class Answer:
    """What a method returns.

    Attributes
    ----------
    answer : str or None
        The canonical answer, as `Problem.read` gives it.
    votes : mapping of str to float
        Every answer that was considered, with its weight, the largest first.
    confidence : float or None
        The method's own estimate that the answer is right, in [0, 1]. Of a vote it is the answer's share of the weight
        of all texts, those included that give no answer; a text that a budget, an error or a lost race has cut before
        it gave one says nothing.
    chosen : State or None
        The text that the answer is taken from.
    details : mapping
        What else is worth keeping, as JSON could.
    """

    answer: str | None
    votes: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    chosen: State | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Conclusion = Literal["done", "spent", "failed"]


@dataclass(frozen=True)
class Result:
    """A problem's answer, with all that led to it.

    Attributes
    ----------
    why : {'done', 'spent', 'failed'}
        The method came to its end; its budget was spent, and this is the best so far; or it raised `error`.
    trace : mapping
        The tree of texts (docs/reasoning.md), as JSON has it.
    caveats : tuple of str
        What the back end cannot promise.
    receipt : RunReceipt or None
        By which others can verify it all (docs/receipts.md, Runs); None unless asked for.
    """

    id: str
    method: str
    answer: Answer
    cost: Cost
    why: Conclusion = "done"
    error: str = ""
    trace: Mapping[str, Any] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    receipt: RunReceipt | None = None

    def as_dict(self, trace: bool = False) -> dict[str, Any]:
        """The result as JSON has it."""
        chosen = self.answer.chosen
        value: dict[str, Any] = {
            "id": self.id,
            "method": self.method,
            "answer": self.answer.answer,
            "votes": dict(self.answer.votes),
            "confidence": self.answer.confidence,
            "text": None if chosen is None else chosen.text,
            "details": dict(self.answer.details),
            "cost": self.cost.as_dict(),
            "why": self.why,
            "error": self.error,
            "caveats": list(self.caveats),
        }
        return value | ({"trace": dict(self.trace)} if trace else {})
