"""Writing texts of workers again: each is a claim like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from intact._base.errors import ParameterError
from intact.engine.shared_cache.cache import SharedCache
from intact.engine.shared_cache.rules import NAMES
from intact.engine.shared_cache.workers import write_together
from intact.library import Model
from intact.reason.backends.program_cost import ProgramCost
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.entries import SharedEntry
from intact.solving.receipts.verdict import RunVerdict


def verify_together(
    models: Mapping[str, Model], claims: Claims, between: Callable[[], None] | None = None
) -> RunVerdict:
    """Write every text of workers once more, no further than it goes; `between` is called before each token."""
    checked = given = 0
    for index, entry in enumerate(claims.run.entries):
        if not isinstance(entry, SharedEntry):
            continue
        name, request = claims.shared[entry.request]
        if entry.text.ended == "time":
            return RunVerdict("unverifiable", "shared", index, detail="it was stopped for want of time")
        try:
            with SharedCache(models[name]) as cache:
                own = write_together(cache, request, ProgramCost(models[name].program).of, _limit(entry, between))
        except ParameterError as error:
            return RunVerdict("false", "shared", index, detail=f"no such text is possible: {error}")
        if own != entry.text:
            return RunVerdict("false", "shared", index, detail="the workers write something else")
        checked, given = checked + own.drawn, given + own.drawn + own.read
    return RunVerdict("true", checked=checked, given=given)


def _limit(entry: SharedEntry, between: Callable[[], None] | None) -> Callable[[], bool]:
    """Return what stops workers that write on where an entry says that they had ended: its request may allow more."""
    left = entry.text.drawn + len(NAMES)  # a round draws a token at least, or finds a worker through

    def stopped() -> bool:
        nonlocal left
        if between is not None:
            between()
        left -= 1
        return left < 0

    return stopped
