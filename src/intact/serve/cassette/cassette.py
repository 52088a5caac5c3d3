"""The file of a cassette: one entry for each request, in an order that does not depend on when requests were sent."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from intact._base.errors import CassetteError, ReceiptError
from intact._base.files import write_whole
from intact._base.strict_json import Fields, parse
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.layout import layout
from intact.serve.cassette.matching import DEFAULT, KEPT_HEADERS, MATCHERS, HttpRequest, Matcher, comparable, key_of

FORMAT: Final = "intact-cassette"
VERSION: Final = 1
MOST_BYTES: Final = 64 << 20
"""Maximum size of a file."""
MOST_ENTRIES: Final = 20_000
_LONGEST_NAME: Final = 1000
Kind = Literal["remote", "local"]
_KINDS: Final = get_args(Kind)


@dataclass(frozen=True)
class Origin:
    """The source of an answer.

    Attributes
    ----------
    kind : {"remote", "local"}
        An endpoint, or a model on this machine.
    name : str
        The endpoint's scheme, host and port, or the model's name.
    identity : str
        Of a local model: version of the arithmetic, profile, and the beginning of the digest of its weights.
    """

    kind: Kind
    name: str
    identity: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return it as a JSON object for a cassette."""
        if self.kind == "remote":
            return {"remote": self.name}
        return {"local": self.name, "identity": self.identity}

    @classmethod
    def from_document(cls, value: Any, where: str) -> Origin:
        """Parse the result of `to_document`."""
        is_local = isinstance(value, dict) and "local" in value
        fields = Fields(value, where, ("local", "identity") if is_local else ("remote",))
        if is_local:
            return cls("local", fields.text("local"), fields.text("identity"))
        if "@" in fields.text("remote"):
            raise ReceiptError(f"{where}.remote must be a host without credentials")
        return cls("remote", fields.text("remote"))


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer to a request."""

    status: int
    headers: Mapping[str, str]
    content: BodyContent


@dataclass(frozen=True)
class CassetteEntry:
    """A request with its answer.

    Attributes
    ----------
    scope : str
        The test that sent the request; empty if it is unknown.
    occurrence : int
        1 for the first of equal requests of a scope.
    """

    request: HttpRequest
    answer: RecordedAnswer
    origin: Origin
    scope: str = ""
    occurrence: int = 1

    def to_document(self) -> dict[str, Any]:
        """Return it as a JSON object for a cassette."""
        request, answer = self.request, self.answer
        sent = {
            "method": request.method,
            "host": request.host,
            "path": request.path,
            **({"query": request.query} if request.query else {}),
            **({"headers": dict(request.headers)} if request.headers else {}),
            **({} if request.content is None else {"body": request.content.to_document()}),
        }
        answered = {"status": answer.status, "headers": dict(answer.headers), "body": answer.content.to_document()}
        scope = {"test": self.scope} if self.scope else {}
        return scope | {
            "request": sent,
            "occurrence": self.occurrence,
            "origin": self.origin.to_document(),
            "answer": answered,
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> CassetteEntry:
        """Parse the result of `to_document`.

        Raises
        ------
        ReceiptError
            If it is damaged.
        """
        fields = Fields(value, where, ("request", "occurrence", "origin", "answer"), ("test",))
        return cls(
            _read_request(fields.values["request"], f"{where}.request"),
            _read_answer(fields.values["answer"], f"{where}.answer"),
            Origin.from_document(fields.values["origin"], f"{where}.origin"),
            scope=fields.text("test") if "test" in value else "",
            occurrence=fields.integer("occurrence", 1, MOST_ENTRIES),
        )


def _read_request(value: Any, where: str) -> HttpRequest:
    fields = Fields(value, where, ("method", "host", "path"), ("query", "headers", "body"))
    if not fields.text("path").startswith("/"):
        fields.fail("path", "a path that begins with /")
    method = fields.text("method")
    if not (method.isascii() and method.isalpha() and method.isupper()):
        fields.fail("method", "an HTTP method such as POST")
    return HttpRequest(
        method,
        fields.text("path"),
        fields.text("query") if "query" in value else "",
        host=fields.text("host"),
        headers=_read_headers(value.get("headers", {}), f"{where}.headers"),
        content=BodyContent.from_document(value["body"], f"{where}.body") if "body" in value else None,
    )


def _read_answer(value: Any, where: str) -> RecordedAnswer:
    fields = Fields(value, where, ("status", "headers", "body"))
    content = BodyContent.from_document(fields.values["body"], f"{where}.body")
    headers = _read_headers(fields.values["headers"], f"{where}.headers")
    return RecordedAnswer(fields.integer("status", 200, 599), headers, content)


def _read_headers(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ReceiptError(f"{where} must be an object")
    for name, text in value.items():
        if not (isinstance(text, str) and (name + text).isascii() and (name + text).isprintable()):
            raise ReceiptError(f"{where}.{name:.40} must be a printable ASCII text on one line")
        if name not in KEPT_HEADERS:
            raise ReceiptError(f"{where} has the header {name!r:.40}; expected only {', '.join(sorted(KEPT_HEADERS))}")
    return value


@dataclass
class Cassette:
    """The entries of a file.

    Attributes
    ----------
    entries : list of CassetteEntry
    matchers : tuple of str
        Parts of a request that must be equal.
    """

    entries: list[CassetteEntry] = field(default_factory=list)
    matchers: tuple[Matcher, ...] = DEFAULT

    @classmethod
    def parse(cls, data: bytes) -> Cassette:
        """Parse a file.

        Raises
        ------
        CassetteError
            If it is no cassette, damaged, too large, or of a later version.
        """
        if len(data) > MOST_BYTES:
            raise CassetteError(f"it is larger than {MOST_BYTES:,} bytes")
        value = parse(data, "the file", error=CassetteError)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise CassetteError(f"it is no cassette; expected {FORMAT!r} as its format")
        if value.get("version") != VERSION or isinstance(value["version"], bool):
            raise CassetteError(f"it has version {value.get('version')!r:.20}; this intact reads version {VERSION}")
        try:
            fields = Fields(value, "the cassette", ("format", "version", "match_on", "entries"))
            names = fields.items("match_on")
            if not names or not all(name in MATCHERS for name in names):
                fields.fail("match_on", f"a list of {', '.join(MATCHERS)}")
            if len(fields.items("entries")) > MOST_ENTRIES:
                raise CassetteError(f"it has more than {MOST_ENTRIES:,} entries")
            entries = fields.each("entries", CassetteEntry.from_document)
        except ReceiptError as error:
            raise CassetteError(str(error)) from error
        return cls(list(entries), tuple(name for name in MATCHERS if name in names))

    @classmethod
    def read(cls, path: Path) -> Cassette:
        """Read a file; errors as for `parse`, and if it cannot be read."""
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise CassetteError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            return cls.parse(data)
        except CassetteError as error:
            raise CassetteError(f"{path}: {error}") from error

    def keys(self) -> list[str]:
        """Return the key of each entry's request."""
        earlier = self.earlier()
        return [key_of(comparable(entry.request, self.matchers, earlier)) for entry in self.entries]

    def earlier(self) -> dict[str, str]:
        """Return names for the answers that later requests may continue, by the answers' identifiers."""
        found: dict[str, str] = {}
        for entry in sorted(self.entries, key=_size):  # an answer is named before the requests that continue it
            if (identifier := stored_identifier(entry)) is not None:
                found.setdefault(identifier, key_of(comparable(entry.request, DEFAULT, found)))
        return found

    def text(self) -> str:
        """Return the text of the file, with entries in a fixed order."""
        entries = sorted(self.numbered(), key=_order)
        head = {"format": FORMAT, "version": VERSION, "match_on": list(self.matchers)}
        document = head | {"entries": [entry.to_document() for entry in entries]}
        return layout(document)

    def numbered(self) -> list[CassetteEntry]:
        """Return the entries with equal requests of a scope numbered from 1, in their order."""
        counts: Counter[tuple[str, str]] = Counter()
        numbered = []
        for entry, key in zip(self.entries, self.keys(), strict=True):
            counts[entry.scope, key] += 1
            numbered.append(replace(entry, occurrence=counts[entry.scope, key]))
        return numbered

    def write(self, path: Path) -> None:
        """Write the file, completely or not at all.

        Raises
        ------
        CassetteError
            If it would be too large to be read again.
        OSError
            If it cannot be written.
        """
        data = self.text().encode()
        if len(data) > MOST_BYTES or len(self.entries) > MOST_ENTRIES:
            raise CassetteError(
                f"{path}: {len(self.entries):,} entries of {len(data):,} bytes are too many for a cassette: at most "
                f"{MOST_ENTRIES:,} entries and {MOST_BYTES:,} bytes; split the suite"
            )
        write_whole(path, data)

    def merged(self, parts: Iterable[Sequence[CassetteEntry]], again: Collection[str] = ()) -> Cassette:
        """Return a cassette with the new entries of several processes.

        Requests outside of tests, which each process sends for itself, are kept once.

        Parameters
        ----------
        again : collection of str
            Tests that were recorded again: all their earlier entries are dropped. Outside of tests (the empty name),
            only those of requests that were sent again are.
        """
        new: dict[tuple[str, str], list[CassetteEntry]] = {}
        for part in parts:
            for where, entries in _grouped(Cassette(list(part), self.matchers)).items():
                if len(entries) > len(new.get(where, ())):
                    new[where] = entries
        old = _grouped(self)
        kept = [
            entry
            for where, entries in old.items()
            for entry in entries
            if where[0] not in again or not (where[0] or where in new)
        ]
        return Cassette(kept + [entry for entries in new.values() for entry in entries], self.matchers)


def _grouped(cassette: Cassette) -> dict[tuple[str, str], list[CassetteEntry]]:
    found: dict[tuple[str, str], list[CassetteEntry]] = defaultdict(list)
    for entry, key in zip(cassette.entries, cassette.keys(), strict=True):
        found[entry.scope, key].append(entry)
    return found


def stored_identifier(entry: CassetteEntry) -> str | None:
    """Return the identifier of an answer of OpenAI's responses API, which later requests may name."""
    if not entry.request.path.endswith("/responses"):
        return None
    content = entry.answer.content
    first = content.value[0].get("data") if content.kind == "events" and content.value else content.value
    answer = first.get("response", first) if isinstance(first, dict) else None
    identifier = answer.get("id") if isinstance(answer, dict) else None
    return identifier if isinstance(identifier, str) and len(identifier) <= _LONGEST_NAME else None


def _size(entry: CassetteEntry) -> int:
    return 0 if entry.request.content is None else len(json.dumps(entry.request.content.to_document()))


def _order(entry: CassetteEntry) -> tuple[Any, ...]:
    """Return the place of an entry: by test, path, and length of the body, so that a conversation is in its order."""
    body = "" if entry.request.content is None else json.dumps(entry.request.content.to_document(), sort_keys=True)
    request = entry.request
    return entry.scope, request.path, request.method, len(body), body, request.query, request.host, entry.occurrence
