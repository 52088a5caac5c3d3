"""The claims of a run's receipt, as a replay requests them one by one."""

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
"""Seconds for all answers of a run that are read, many times what an honest one takes."""


class RequestedText(NamedTuple):
    """A text that was asked for: of which model, at which place, and what makes its receipt in full."""

    model: str
    branch: Branch
    receipt: Callable[[], Receipt]


class Claims:
    """The claims of a receipt, and how many of them have been requested.

    Attributes
    ----------
    unread : dict of str to int
        Numbers of the texts that nobody has asked for, by their places.
    texts : dict of str to TextEntry
        The others.
    requested : dict of int to RequestedText
        The same by their numbers. Receipts are made one by one: all prompts at once would fill the memory.
    programs : dict of bytes to Run
        What was run, by digest.
    calls : dict of bytes to ToolUse
        The tools that were used, by digest of the call.
    together : dict of bytes to SharedEntry
        Texts that workers wrote together, by digest of the request.
    shared : dict of bytes to (str, SharedRequest)
        Those that were requested: of which model, and how.
    data : NotingData
        The problem's, which knows at the end what was read of it.
    ended : Exception or None
        The error that ends the replay, even where it was raised in the method first.
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
                raise false("run", index, "the same program has ended in another way before")
            if isinstance(entry, ToolEntry) and self.used.setdefault(entry.call, entry) != entry:
                raise false("tool", index, "the same call of a tool has had another result before")

    def end(self, error: Exception) -> Exception:
        """Note what ends the replay."""
        self.ended = self.ended or error
        return error

    def check(self) -> None:
        """Go on, if nothing has ended the replay and whoever waits for it still does."""
        if self.ended is None and self._between is not None:
            try:
                self._between()
            except Exception as error:
                self.ended = error
        if self.ended is not None:
            raise self.ended

    def read(self, reader: Callable[[str], str | None], text: str) -> str | None:
        """Read an answer, as long as there is time: the algebra of one expression takes seconds."""
        self.check()
        began = time.monotonic()
        with noting() as abandoned:
            answer = reader(text)
        self._reading -= time.monotonic() - began
        if abandoned:
            detail = f"algebra gives up {abandoned[0]!r:.80} here, for want of time or memory"
        elif self._reading < 0:
            detail = f"reading the answers in its texts takes more than {READING:g} seconds here"
        else:
            return answer
        raise self.end(DecidedError(RunVerdict("unverifiable", "reading", detail=detail)))
