"""Calling the tools of a run again: the result of each call is a claim to verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

from intact._base.errors import IntactError
from intact.reason.tool import ToolResult, ToolUse
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.entries import ToolEntry
from intact.solving.receipts.verdict import RunVerdict


def verify_tools(claims: Claims, between: Callable[[], None] | None = None) -> RunVerdict:
    """Repeat every tool call of a receipt; `between` is called before each.

    Results of tools that cannot be called again are left open: they make the verdict 'partial' unless it is false.
    """
    first: dict[bytes, int] = {}
    for index, entry in enumerate(claims.run.entries):
        if isinstance(entry, ToolEntry):
            first.setdefault(entry.call, index)
    count, doubt, recorded = 0, None, list[str]()
    for key, index in first.items():
        if between is not None:
            between()
        call, entry = claims.calls[key], claims.used[key]
        if not call.tool.replayable:
            recorded.append(call.tool.name)
            continue
        try:
            found = _difference(call, entry)
        except IntactError as error:
            found = RunVerdict("unverifiable", "tool", detail=f"{call.tool.name} cannot be used here: {error}")
        if found is None:
            count += 1
        elif found.outcome == "false":
            return replace(found, entry=index, programs=count)
        else:
            doubt = doubt or replace(found, entry=index)
    if doubt is None and recorded:
        detail = f"{len(recorded)} results of {', '.join(sorted(set(recorded)))} are recorded; nobody can repeat them"
        doubt = RunVerdict("partial", detail=detail)
    return replace(doubt or RunVerdict("true"), programs=count)


def _difference(call: ToolUse, entry: ToolEntry) -> RunVerdict | None:
    """Return the verdict if a tool's result differs from its entry."""
    own = _use(call)
    if (own.text, own.ended) == (entry.text, entry.ended):
        return None
    name = call.tool.name
    detail = f"the tool {name} ends by {own.ended!r} here, not by {entry.ended!r}"
    if own.ended == entry.ended:
        detail = f"the tool {name} gives something else here"
    if entry.version.hex() != call.tool.address(call.values):
        return RunVerdict("unverifiable", "tool", detail=f"{detail}; another version of it was used")
    if entry.ended == "time" or not own.settled:
        return RunVerdict("unverifiable", "tool", detail=f"{detail}; how long it takes depends on the machine")
    if _use(call) != own:
        return RunVerdict("unverifiable", "tool", detail=f"{detail}; it gives something else each time")
    return RunVerdict("false", "tool", detail=detail)


def _use(call: ToolUse) -> ToolResult:
    """Call a tool on a receipt's inputs, never unprotected, whatever the value of INTACT_SANDBOX."""
    return call.tool.use(call.values, Event(), untrusted=True)
