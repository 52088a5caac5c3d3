"""Costs, hard caps on them, and the ledger of spending."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact._base.suggest import did_you_mean

_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Cost(NamedTuple):
    """The compute that was spent. Cache hits and rejected drafts have no effect, so a replay costs the same.

    Attributes
    ----------
    tokens : int
        Tokens that models wrote.
    prefill : int
        Tokens that a model had to read: each distinct text counts once per problem, the model's own output not at all.
    operations : int
        Integer multiply-adds for both, counted as if there were no cache.
    scores, runs : int
        States scored; programs run.
    sequential : int
        Tokens written one after the other: of parallel requests, only the longest counts.
    seconds : float
        Wall time; the only figure that differs from run to run.
    """

    tokens: int = 0
    prefill: int = 0
    operations: int = 0
    scores: int = 0
    runs: int = 0
    sequential: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return the sum of two costs incurred one after the other."""
        return Cost(*map(operator.add, self, other))

    def minus(self, other: Cost) -> Cost:
        """Return the difference between two costs."""
        return Cost(*map(operator.sub, self, other))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return self._asdict()


@dataclass(frozen=True)
class Budget:
    """The maximum cost of a problem; None means no cap. A cap is never exceeded, not even by one.

    Attributes
    ----------
    tokens, prefill, operations, scores, runs : int, optional
        As in `Cost`.
    text : int, optional
        Tokens of each text that a method writes, counted from its beginning over all its extensions; texts written by
        scorers do not count. A text that reaches the cap is ended, as at the end of the context.
    seconds : float, optional
        Wall time. It is not reproducible, so the journal records the timeout and a replay stops at the same point.
    """

    tokens: int | None = None
    prefill: int | None = None
    operations: int | None = None
    scores: int | None = None
    runs: int | None = None
    text: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name != "seconds"
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value >= 0:
                kind = "a whole number" if whole else "a number"
                raise ParameterError(f"a budget's {field.name} must be {kind} of at least 0, got {value!r}")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Parse a budget such as ``tokens=200k,seconds=60``; k, M, G and T are powers of 1,000.

        Raises
        ------
        ParameterError
            If it cannot be parsed.
        """
        names = [field.name for field in fields(cls)]
        caps: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            found = re.fullmatch(r"\s*([a-z]+)\s*=\s*(\d+(?:\.\d+)?)\s*([kmgt]?)\s*", part, re.IGNORECASE)
            if found and found[1] not in names and (hint := did_you_mean(found[1], names)):
                raise ParameterError(f"a budget has no cap {found[1]!r:.60}: {hint}")
            if not found or found[1] not in names:
                raise ParameterError(
                    f"a budget must have a form such as tokens=200k,seconds=60, with the caps {', '.join(names)}; "
                    f"got {part!r}"
                )
            value = Fraction(found[2]) * _SUFFIX[found[3].lower()]
            caps[found[1]] = float(value) if found[1] == "seconds" or value.denominator > 1 else int(value)
        return cls(**caps)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, float]:
        """Return the caps that are set."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    def divide(self, parts: int) -> Budget:
        """Return an equal share of every cap, rounded down.

        The cap per text is not divided, and neither are seconds, because parts may run at the same time.
        """
        caps = self.as_dict().items()
        shares = {name: value if name in ("text", "seconds") else int(value) // parts for name, value in caps}
        return Budget(**shares)  # type: ignore[arg-type]


CAPPED = ("tokens", "prefill", "operations", "scores", "runs")


class Ledger:
    """The cost already spent, and the cost reserved for requests in progress."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.spent = Cost()
        self._aside = Cost()

    @property
    def capped(self) -> bool:
        """If true, any cap other than seconds is set."""
        return any(getattr(self.budget, name) is not None for name in CAPPED)

    def left(self, name: str) -> float:
        """Return the amount that is neither spent nor reserved; infinite without a cap."""
        cap: int | None = getattr(self.budget, name)
        return math.inf if cap is None else cap - getattr(self.spent, name) - getattr(self._aside, name)

    def rest(self, parts: int) -> Budget:
        """Return an equal share of the remaining budget."""
        caps = {name: int(left) for name in CAPPED if (left := self.left(name)) != math.inf}
        return Budget(**caps, text=self.budget.text).divide(parts)

    def fits(self, cost: Cost) -> bool:
        """Return true if the caps allow a cost."""
        return all(getattr(cost, name) <= self.left(name) for name in CAPPED)

    def set_aside(self, cost: Cost) -> None:
        """Reserve the maximum cost of a request."""
        self._aside = self._aside.plus(cost)

    def overlap(self, tokens: int) -> None:
        """Record that some tokens were written in parallel with others rather than after them."""
        self.spent = self.spent._replace(sequential=self.spent.sequential - tokens)

    def settle(self, aside: Cost, cost: Cost) -> None:
        """Charge the actual cost of a request instead of the reserved cost."""
        self._aside = self._aside.minus(aside)
        self.spent = self.spent.plus(cost)
