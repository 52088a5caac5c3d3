"""Errors in OpenAI's shape: a message, a type, the field at fault, a code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from intact.errors import CapacityError, IntactError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """What a client is told instead of an answer.

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
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.after = status, message, param, code, after

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
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as an answer."""
    return Response(encode(value), status, headers, "application/json")


_ALIASES = {
    "json_schema": "response_format",
    "max_tokens": "max_tokens",
    "the prompt": "prompt",
    "messages": "messages",
}


def as_api_error(error: BaseException, fields: Sequence[str] = (), text: str | None = None) -> ApiError:
    """An error of the library as the client is told it.

    Parameters
    ----------
    fields : sequence of str
        The request's fields; one that the message begins with is the one at fault.
    text : str, optional
        The field that holds the text.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "the request took longer than it may", code="timeout")
    if isinstance(error, CapacityError):
        return ApiError(400, str(error), text, "context_length_exceeded")
    if isinstance(error, IntactError):
        message = str(error)
        first = re.match(r"the prompt|\w+", message)
        name = first[0] if first else ""
        if name == "the prompt" or "prompt" in message[:12]:
            code = "context_length_exceeded" if "context" in message else None
            return ApiError(400, message, text, code)
        field = name if name in fields else _ALIASES.get(name)
        return ApiError(400, message, field)
    return ApiError(500, "the server failed; its log says how", code="internal_error")


def place(body: Any, loc: Sequence[int | str]) -> str:
    """A place in a request, such as ``messages[0].content``, from pydantic's, which names alternatives in between."""
    path = ""
    here = body
    for position, step in enumerate(loc):
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(step, str) and isinstance(here, dict) and (step in here or position == len(loc) - 1):
            path, here = f"{path}.{step}" if path else step, here.get(step)
    return path


def invalid(errors: Sequence[Mapping[str, Any]], body: Any) -> ApiError:
    """A request that is not of the right form, by what pydantic says of it."""
    first = min(errors, key=lambda error: -len(place(body, error["loc"][1:]))) if errors else {}
    loc = list(first.get("loc", ()))
    kind, param = first.get("type", ""), place(body, loc[1:]) if loc[:1] == ["body"] else ".".join(map(str, loc[1:]))
    if kind == "json_invalid":
        detail = first.get("ctx", {}).get("error", "")
        return ApiError(400, f"the body is no JSON: {detail} at byte {loc[-1] if loc else 0}")
    if kind == "extra_forbidden":
        return ApiError(400, f"unknown field: {param}", param, "unknown_field")
    if kind == "missing" and not param:
        return ApiError(400, "the request has no body; expected a JSON object")
    if kind == "missing":
        return ApiError(400, f"{param} is missing", param, "missing_field")
    given = f", got {first['input']!r:.60}" if "input" in first else ""
    return ApiError(400, f"{param or 'the body'}: {str(first.get('msg', 'is invalid')).lower()}{given}", param or None)
