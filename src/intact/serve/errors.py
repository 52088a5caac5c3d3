"""Errors in OpenAI's shape: a message, a type, the field at fault, a code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from intact.errors import CapacityError, IntactError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(HTTPException):
    """What a client is told instead of an answer; Starlette's, so that FastAPI lets it through wherever it is raised.

    Attributes
    ----------
    param : str or None
        The field at fault, such as ``messages[0].content``.
    code : str or None
        A word for programs.
    after : float or None
        In how many seconds it may go better.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status, self.message, self.param, self.code, self.after = status, message, param, code, after

    def __str__(self) -> str:
        return self.message

    def as_dict(self) -> dict[str, Any]:
        """The error as JSON has it."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The error as an answer."""
        headers = {} if self.after is None else {"retry-after": str(max(1, round(self.after)))}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return reply(self.as_dict(), self.status, headers)


def encode(value: Any) -> bytes:
    """JSON; a lone surrogate, which a client may have sent, is written as an escape."""
    try:
        return _JSON.encode(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as an answer."""
    return Response(encode(value), status, headers, "application/json")


_ALIASES = {"json_schema": "response_format", "regex": "intact.regex", "grammar": "intact.grammar"}


def as_api_error(error: BaseException, fields: Sequence[str] = (), param: str | None = None) -> ApiError:
    """An error of the library as the client is told it.

    Parameters
    ----------
    fields : sequence of str
        Fields of the request that the library knows by the same names; one that the message begins with is at fault.
    param : str, optional
        The field at fault otherwise.
    """
    while isinstance(error, BaseExceptionGroup):  # of several tasks the first that failed
        error = error.exceptions[0]
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "the request took longer than it may", code="timeout")
    if isinstance(error, IntactError):
        message = str(error)
        found = re.match(r"(?:the )?(\w+)", message)
        name = found[1] if found else ""
        if name in fields or (param is None and name in _ALIASES):
            return ApiError(400, message, _ALIASES.get(name, name))
        too_long = isinstance(error, CapacityError) or "context" in message
        return ApiError(400, message, param, "context_length_exceeded" if too_long else None)
    return ApiError(500, "the server failed; its log says how", code="internal_error")


def place(body: Any, error: Mapping[str, Any]) -> list[int | str]:
    """The steps to what an error is about, of pydantic's, which name alternatives in between."""
    loc, is_missing = error["loc"][1:], error["type"] == "missing"
    steps: list[int | str] = []
    here = body
    for position, step in enumerate(loc):
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            here = here[step]
        elif (
            isinstance(step, str)
            and isinstance(here, Mapping)
            and (step in here or (is_missing and position == len(loc) - 1))
        ):
            here = here.get(step)
        else:
            continue
        steps.append(step)
    return steps


def spelt(steps: Sequence[int | str]) -> str:
    """A place as people write it, such as ``messages[0].content``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def invalid(errors: Sequence[Mapping[str, Any]], body: Any) -> ApiError:
    """A request that is not of the right form, by what pydantic says of it.

    Of several alternatives that a field has, the one that fits furthest is the one that was meant.
    """
    first = errors[0] if errors else {}
    same = [error for error in errors if error["loc"][:2] == first["loc"][:2]]
    first = max(same, key=lambda error: len(place(body, error)), default=first)
    loc = list(first.get("loc", ()))
    kind, param = (
        first.get("type", ""),
        spelt(place(body, first)) if loc[:1] == ["body"] else ".".join(map(str, loc[1:])),
    )
    if isinstance(first.get("input"), bytes):
        return ApiError(415, "the body must be JSON, with content-type: application/json")
    if kind == "extra_forbidden":
        return ApiError(400, f"unknown field: {param}", param, "unknown_field")
    if kind == "missing" and not param:
        return ApiError(400, "the request has no body; expected a JSON object")
    if kind == "missing":
        return ApiError(400, f"{param} is missing", param, "missing_field")
    given = f", got {_given(first['input'])}" if "input" in first else ""
    message = str(first.get("msg", "is invalid"))
    return ApiError(400, f"{param or 'the body'}: {message[:1].lower()}{message[1:]}{given}", param or None)


def _given(value: Any) -> str:
    """What was given, in few words, however much it is."""
    if isinstance(value, list | Mapping):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    return repr(value[:60] if isinstance(value, str) else value)
