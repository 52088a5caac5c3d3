"""Regenerating the completions of workers: each is a claim to verify."""

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
    """Regenerate every completion of workers up to its recorded length; `between` is called before each token."""
    checked = given = 0
    for index, entry in enumerate(claims.run.entries):
        if not isinstance(entry, SharedEntry):
            continue
        name, request = claims.shared[entry.request]
        if entry.text.ended == "time":
            return RunVerdict("unverifiable", "shared", index, detail="it was stopped by a time limit")
        try:
            with SharedCache(models[name]) as cache:
                own = write_together(cache, request, ProgramCost(models[name].program).of, _limit(entry, between))
        except ParameterError as error:
            return RunVerdict("false", "shared", index, detail=f"no such text is possible: {error}")
        if own != entry.text:
            return RunVerdict("false", "shared", index, detail="the workers write a different text")
        checked, given = checked + own.drawn, given + own.drawn + own.read
    return RunVerdict("true", checked=checked, given=given)


def _limit(entry: SharedEntry, between: Callable[[], None] | None) -> Callable[[], bool]:
    """Return a function that stops workers at the recorded end of a completion; the request may allow more."""
    left = entry.text.drawn + len(NAMES)  # each round samples at least one token, or finds a worker finished

    def stopped() -> bool:
        nonlocal left
        if between is not None:
            between()
        left -= 1
        return left < 0

    return stopped
