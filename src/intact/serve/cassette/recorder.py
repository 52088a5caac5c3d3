"""Decides who answers a request, a recording, the endpoint or the local model, and keeps new answers."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from intact._base.errors import CassetteError, ParameterError
from intact.serve.cassette.cassette import MOST_BYTES, Cassette
from intact.serve.cassette.entry import CassetteEntry, Origin, RecordedAnswer, stored_identifier
from intact.serve.cassette.matching import DEFAULT, HttpRequest, Matcher, comparable, key_of, nearest
from intact.serve.cassette.redaction import Redaction
from intact.serve.errors import ApiError

RecordMode = Literal["once", "new_episodes", "none", "all"]
Missing = Literal["fail", "ask", "answer"]
MODES: Final = get_args(RecordMode)
MISSING: Final = get_args(Missing)
NOT_KEPT: Final = frozenset((401, 403, 408, 409, 425, 429))
"""Statuses that say something about the moment or the key, not about the request; nor is any from 500 on kept."""


@dataclass(frozen=True)
class RecordPolicy:
    """Settings of a session.

    Attributes
    ----------
    mode : {"once", "new_episodes", "none", "all"}
        Requests that are recorded: those of a file that does not exist yet; all that no recording has; none; all.
    missing : {"fail", "ask", "answer"}
        The answer to a request that no recording has: an error, the endpoint, or the local model.
    repeats : bool
        If true, the last recording of a request answers all further equal requests.
    """

    mode: RecordMode
    missing: Missing
    repeats: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ParameterError(f"the record mode must be one of {', '.join(MODES)}, got {self.mode!r:.40}")
        if self.missing not in MISSING:
            raise ParameterError(f"missing must be one of {', '.join(MISSING)}, got {self.missing!r:.40}")

    @classmethod
    def of(cls, mode: RecordMode | None, missing: Missing | None, repeats: bool, *, is_new: bool) -> RecordPolicy:
        """Return the policy for options that may be left out.

        By default a new file is recorded (`once`) from the endpoint, and an existing one replayed; naming what answers
        missing requests makes it grow (`new_episodes`).
        """
        if mode is None:
            mode = "once" if missing is None or is_new else "none" if missing == "fail" else "new_episodes"
        if missing is None:
            missing = "ask" if mode in ("new_episodes", "all") or (mode == "once" and is_new) else "fail"
        return cls(mode, missing, repeats)


@dataclass
class RequestCounts:
    """Numbers of requests, by what answered them.

    Attributes
    ----------
    replayed, replayed_local : int
        Answered by a recording; those among them whose recording is of a local model.
    recorded, local : int
        New answers of the endpoint and of the local model that were kept.
    passed_on, passed_on_local : int
        New answers that were not kept.
    refused : int
        Requests that no recording has, answered by an error.
    """

    replayed: int = 0
    replayed_local: int = 0
    recorded: int = 0
    local: int = 0
    passed_on: int = 0
    passed_on_local: int = 0
    refused: int = 0

    def add(self, other: Mapping[str, int]) -> None:
        """Add the counts of another process."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + int(other.get(one.name, 0)))

    def text(self, model: str = "") -> str:
        """Return the counts in a line for people."""
        by = f" by {model}" if model else ""
        words = (
            (self.replayed, "replayed"),
            (self.replayed_local, "of these answers of a local model"),
            (self.recorded, "recorded"),
            (self.local, f"answered locally{by} and recorded as such"),
            (self.passed_on, "answered by the endpoint and not recorded"),
            (self.passed_on_local, f"answered locally{by} and not recorded"),
            (self.refused, "refused, since no recording has them"),
        )
        return ", ".join(f"{count} {word}" for count, word in words if count) or "no requests"


class CassetteRecorder:
    """A cassette in use; its methods may be called from any thread.

    Parameters
    ----------
    cassette : Cassette
        The recordings so far.
    policy : RecordPolicy
    redaction : Redaction
    is_new : bool
        If true, there was no file before.

    Attributes
    ----------
    scope : str or None
        The test that is running; empty between tests; None if it is unknown, so that recordings of any test match.
    policy : RecordPolicy
        May be replaced while no request is under way.
    counts : RequestCounts
    new : list of CassetteEntry
        Entries recorded since.
    again : set of str
        Tests that were recorded again, in mode `all`.
    """

    def __init__(self, cassette: Cassette, policy: RecordPolicy, redaction: Redaction, *, is_new: bool) -> None:
        self.cassette, self.policy, self.redaction, self.is_new = cassette, policy, redaction, is_new
        self.counts, self.new = RequestCounts(), list[CassetteEntry]()
        self.scope: str | None = None
        self.again: set[str] = set()
        self._lock = threading.Lock()
        self._earlier = cassette.earlier()
        self._found: dict[tuple[str, str], list[CassetteEntry]] = defaultdict(list)
        self._scopes: dict[str, dict[str, None]] = defaultdict(dict)
        for entry, key in zip(cassette.entries, cassette.keys(), strict=True):
            self._found[entry.scope, key].append(entry)
            self._scopes[key][entry.scope] = None
        for entries in self._found.values():
            entries.sort(key=lambda entry: entry.occurrence)
        self._played: Counter[tuple[str, str]] = Counter()

    @property
    def records(self) -> bool:
        """If true, new answers are kept."""
        return self.policy.mode in ("new_episodes", "all") or (self.policy.mode == "once" and self.is_new)

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        """Parts of a request that must be equal."""
        return self.cassette.matchers

    def begin(self, scope: str) -> None:
        """Start a test, possibly again: its recordings are replayed from the first, and new ones replaced."""
        with self._lock:
            self.scope = scope
            for where in [where for where in self._played if where[0] == scope]:
                del self._played[where]
            self.new = [entry for entry in self.new if entry.scope != scope]

    def _candidates(self, key: str) -> Iterable[str]:
        """Return the tests whose recordings may answer a request: the running one, then none, or all if unknown."""
        return self._scopes.get(key, ()) if self.scope is None else dict.fromkeys((self.scope, ""))

    def play(self, request: HttpRequest) -> CassetteEntry | None:
        """Return the recording that answers a request, which then counts as replayed; None if there is none left."""
        if self.policy.mode == "all":
            return None
        with self._lock:
            key = self._key(request)
            for scope in self._candidates(key):
                entries, played = self._found.get((scope, key), []), self._played[scope, key]
                if played < len(entries) or (entries and self.policy.repeats):
                    self._played[scope, key] += 1
                    entry = entries[min(played, len(entries) - 1)]
                    self.counts.replayed += 1
                    self.counts.replayed_local += entry.origin.kind == "local"
                    return entry
        return None

    def _key(self, request: HttpRequest) -> str:
        return key_of(comparable(self.redaction.request(request), self.matchers, self._earlier))

    def refusal(self, request: HttpRequest) -> ApiError:
        """Count a request that no recording has; return the error, which names the most similar recorded request."""
        with self._lock:
            self.counts.refused += 1
            parts = comparable(self.redaction.request(request), self.matchers, self._earlier)
            key = key_of(parts)
            times = sum(len(self._found.get((scope, key), ())) for scope in self._candidates(key))
            sent = f"{request.method} {request.path:.100}"
            if times:
                advice = "record it again, or allow repeats (--allow-playback-repeats)"
                message = f"{sent} is recorded {times} times, and was requested once more: {advice}"
            else:
                message = f"no recording has this request: {sent}\n{self._nearest(parts)}"
        error = ApiError(404, message, code="not_recorded")
        error.headers = {**(error.headers or {}), "x-should-retry": "false"}  # OpenAI's and Anthropic's clients read it
        return error

    def _nearest(self, parts: Mapping[str, Any]) -> str:
        own = [entry for (scope, _), some in self._found.items() for entry in some[:1] if scope in (self.scope, "")]
        entries = own or [entry for some in self._found.values() for entry in some[:1]]
        entries.sort(key=lambda entry: entry.request.path != parts.get("path"))
        found = nearest(parts, (comparable(entry.request, self.matchers, self._earlier) for entry in entries))
        if found is None:
            return "the cassette has no recordings"
        index, difference = found
        entry = entries[index]
        where = f" of {entry.scope}" if entry.scope else ""
        if not difference.place:
            return f"an equal request{where} is recorded"
        return f"the nearest recorded request{where} differs at {difference.place}\n{difference.text}"

    def keep(self, request: HttpRequest, answer: RecordedAnswer, origin: Origin, scope: str) -> bool:
        """Keep an answer, if the policy says so; return true if it was kept.

        Errors that are due to the key or to the moment are not kept.
        """
        is_local = origin.kind == "local"
        with self._lock:
            is_kept = self.records and answer.status not in NOT_KEPT and answer.status < 500
            if not is_kept or (is_local and answer.status >= 400):
                self.counts.passed_on += not is_local
                self.counts.passed_on_local += is_local
                return False
            headers = self.redaction.headers(answer.headers)
            stored = RecordedAnswer(answer.status, headers, self.redaction.content(answer.content))
            entry = CassetteEntry(self.redaction.request(request), stored, origin, scope)
            if (identifier := stored_identifier(entry)) is not None:
                self._earlier.setdefault(identifier, key_of(comparable(entry.request, DEFAULT, self._earlier)))
            self.new.append(entry)
            self.again |= {scope} if self.policy.mode == "all" else set()
            self.counts.local += is_local
            self.counts.recorded += not is_local
        return True

    def save(self, path: Path) -> bool:
        """Write the file if something was recorded; return true if it was."""
        with self._lock:
            if not self.new:
                return False
            self.cassette.merged([self.new], self.again).write(path)
        return True


def open_cassette(path: Path, matchers: tuple[Matcher, ...] | None, mode: RecordMode | None) -> tuple[Cassette, bool]:
    """Return the cassette of a file, and true if there is no such file yet.

    Raises
    ------
    CassetteError
        If it cannot be read, was recorded with other matchers, or is missing although nothing may be recorded.
    """
    if not path.exists():
        if mode == "none":
            raise CassetteError(f"{path} does not exist, and the record mode none records nothing; record it first")
        return Cassette(matchers=matchers or DEFAULT), True
    if path.stat().st_size > MOST_BYTES:
        raise CassetteError(f"{path} is larger than {MOST_BYTES:,} bytes")
    cassette = Cassette.read(path)
    if matchers is not None and matchers != cassette.matchers:
        if mode != "all":
            raise CassetteError(
                f"{path} matches on {', '.join(cassette.matchers)}, not on {', '.join(matchers)}: leave out the "
                "option, or record it again"
            )
        cassette.matchers = matchers
    return cassette, False
