"""The claims in a run's receipt, which a replay requests one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from intact.engine.shared_cache.request import SharedRequest
from intact.reason.problem import Branch, path
from intact.reason.requests import RunProgram
from intact.reason.tool import ToolUse
from intact.receipts.document import Receipt
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import RunEntry, SharedEntry, TextEntry, ToolEntry
from intact.solving.receipts.problems import NotingData
from intact.solving.receipts.verdict import DecidedError, RunVerdict, false
from intact.tasks.score.judging import noting

READING: Final = 600.0
"""Number of seconds allowed for reading all answers of a run; an honest run takes only a small fraction of it."""


class RequestedText(NamedTuple):
    """A requested completion: its model, its branch, and a function that makes its complete receipt."""

    model: str
    branch: Branch
    receipt: Callable[[], Receipt]


class Claims:
    """The claims in a receipt, and which of them have been requested.

    Attributes
    ----------
    unread : dict of str to int
        Indices of the completions that have not been requested, by branch.
    texts : dict of str to TextEntry
        The requested completions, by branch.
    requested : dict of int to RequestedText
        The requested completions by index. Receipts are made one at a time, because all prompts together could exhaust
        the memory.
    programs : dict of bytes to Run
        The programs that were run, by digest.
    calls : dict of bytes to ToolUse
        The tools that were used, by digest of the call.
    together : dict of bytes to SharedEntry
        Completions that workers generated together, by digest of the request.
    shared : dict of bytes to (str, SharedRequest)
        The model and the request of each shared completion that was requested.
    data : NotingData
        The problem's data, which records which parts were read.
    ended : Exception or None
        The error that ends the replay, even if the method catches it first.
    """

    def __init__(self, run: RunReceipt, between: Callable[[], None] | None = None) -> None:
        self.run, self.data = run, NotingData(run.header.data)
        self.ended: Exception | None = None
        self._between, self._reading = between, READING
        self.unread = {path(e.branch): i for i, e in enumerate(run.entries) if isinstance(e, TextEntry)}
        self.texts: dict[str, TextEntry] = {}
        self.requested: dict[int, RequestedText] = {}
        self.programs: dict[bytes, RunProgram] = {}
        self.ran: dict[bytes, RunEntry] = {}
        self.calls: dict[bytes, ToolUse] = {}
        self.used: dict[bytes, ToolEntry] = {}
        self.together = {entry.request: entry for entry in run.entries if isinstance(entry, SharedEntry)}
        self.shared: dict[bytes, tuple[str, SharedRequest]] = {}
        self.constrained = False
        for index, entry in enumerate(run.entries):
            if isinstance(entry, RunEntry) and self.ran.setdefault(entry.program, entry) != entry:
                raise false("run", index, "the same program has ended differently before")
            if isinstance(entry, ToolEntry) and self.used.setdefault(entry.call, entry) != entry:
                raise false("tool", index, "the same tool call has had another result before")

    def end(self, error: Exception) -> Exception:
        """Record the error that ends the replay."""
        self.ended = self.ended or error
        return error

    def check(self) -> None:
        """Raise if the replay has ended, or `between` ends it."""
        if self.ended is None and self._between is not None:
            try:
                self._between()
            except Exception as error:
                self.ended = error
        if self.ended is not None:
            raise self.ended

    def read(self, reader: Callable[[str], str | None], text: str) -> str | None:
        """Read an answer within the time limit, since computer algebra can take seconds for a single expression."""
        self.check()
        began = time.monotonic()
        with noting() as abandoned:
            answer = reader(text)
        self._reading -= time.monotonic() - began
        if abandoned:
            detail = f"algebra reaches a time or memory limit on {abandoned[0]!r:.80} here"
        elif self._reading < 0:
            detail = f"reading the answers in its texts takes longer than {READING:g} seconds here"
        else:
            return answer
        raise self.end(DecidedError(RunVerdict("unverifiable", "reading", detail=detail)))
