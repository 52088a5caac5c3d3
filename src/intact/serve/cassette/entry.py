"""An entry of a cassette: a request, its answer, and where the answer is from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from intact._base.errors import ReceiptError
from intact._base.strict_json import Fields
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.matching import KEPT_HEADERS, HttpRequest

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


def stored_identifier(entry: CassetteEntry) -> str | None:
    """Return the identifier of an answer of OpenAI's responses API, which later requests may name."""
    if not entry.request.path.endswith("/responses"):
        return None
    content = entry.answer.content
    first = content.value[0].get("data") if content.kind == "events" and content.value else content.value
    answer = first.get("response", first) if isinstance(first, dict) else None
    identifier = answer.get("id") if isinstance(answer, dict) else None
    return identifier if isinstance(identifier, str) and len(identifier) <= _LONGEST_NAME else None


def size_of(entry: CassetteEntry) -> int:
    """Return the length of a request's body as JSON."""
    return 0 if entry.request.content is None else len(json.dumps(entry.request.content.to_document()))


def order_of(entry: CassetteEntry) -> tuple[Any, ...]:
    """Return the place of an entry: by test, path, and length of the body, so that a conversation is in its order."""
    body = "" if entry.request.content is None else json.dumps(entry.request.content.to_document(), sort_keys=True)
    request = entry.request
    return entry.scope, request.path, request.method, len(body), body, request.query, request.host, entry.occurrence
