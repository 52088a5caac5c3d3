"""Errors with a message, a type, the field at fault, and a code; in OpenAI's format, unless an API has its own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from intact._base.errors import CapacityError, IntactError, NotInstalledError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SHOULD_BE = "Input should be "
_ALIASES = {"json_schema": "response_format", "regex": "intact.regex", "grammar": "intact.grammar"}


class ApiError(HTTPException):
    """An error sent to a client; a subclass of Starlette's, so that FastAPI passes it through wherever it is raised.

    Attributes
    ----------
    param : str or None
        The field at fault, such as ``messages[0].content``.
    code : str or None
        A machine-readable code.
    after : float or None
        Seconds after which the client should retry.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        after: float | None = None,
    ) -> None:
        headers = {} if after is None else {"retry-after": str(max(1, round(after)))}
        super().__init__(status, message, headers | ({"www-authenticate": "Bearer"} if status == 401 else {}))
        self.status, self.message, self.param, self.code, self.after = status, message, param, code, after

    def __str__(self) -> str:
        return self.message

    @property
    def kind(self) -> str:
        """The type of the error in OpenAI's terms."""
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def as_dict(self) -> dict[str, Any]:
        """Return the error as a JSON object."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class ErrorFormat(NamedTuple):
    """The error format of an API.

    Attributes
    ----------
    status : callable
        Returns the HTTP status.
    body : callable
        Returns the error as a JSON value.
    event : str or None
        Name of the error event in a stream; None if events have no names.
    """

    status: Callable[[ApiError], int]
    body: Callable[[ApiError], dict[str, Any]]
    event: str | None = None


OPENAI_ERRORS = ErrorFormat(lambda error: error.status, ApiError.as_dict)
"""The error format on all paths for which no API defines its own (`ERRORS` in its module)."""


def ending() -> ApiError:
    """Return the error for work interrupted by the server's shutdown."""
    return ApiError(503, "the server is shutting down", code="ending")


def without_folder(message: object, folder: Path) -> str:
    """Make paths in a message relative to a folder of this machine, so that clients do not learn its location."""
    text = str(message)
    for one in dict.fromkeys((folder, folder.absolute(), folder.resolve())):
        text = text.replace(f"{one}{os.sep}", "").replace(str(one), "the folder") if str(one) != "." else text
    return text


def as_api_error(error: BaseException, fields: Sequence[str] = (), param: str | None = None) -> ApiError:
    """Convert an error of the library to one for the client.

    Parameters
    ----------
    fields : sequence of str
        Fields of the request that have the same name in the library; if the message begins with one, it is at fault.
    param : str, optional
        The field at fault otherwise.
    """
    while isinstance(error, BaseExceptionGroup):  # the first of several tasks that failed
        error = error.exceptions[0]
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "the request exceeded the time limit", code="timeout")
    if isinstance(error, NotInstalledError):
        return ApiError(501, f"this server does not support that: {error}", param, "unavailable")
    if not isinstance(error, IntactError):
        return ApiError(500, "the server failed; its log has the details", code="internal_error")
    message = str(error)
    found = re.match(r"(?:the )?(\w+)", message)
    name = found[1] if found else ""
    if name in fields or (param is None and name in _ALIASES):
        return ApiError(400, message, _ALIASES.get(name, name))
    too_long = isinstance(error, CapacityError) or "context" in message
    return ApiError(400, message, param, "context_length_exceeded" if too_long else None)


def _steps(body: Any, error: Mapping[str, Any]) -> list[int | str]:
    """Return the steps from the body to the field of a pydantic error, without the names of alternatives in between."""
    loc, is_missing = error["loc"][1:], error["type"] == "missing"
    steps: list[int | str] = []
    for position, step in enumerate(loc):
        is_index = isinstance(step, int) and isinstance(body, list) and step < len(body)
        is_last_missing = is_missing and position == len(loc) - 1
        if is_index:
            body = body[step]
        elif isinstance(step, str) and isinstance(body, Mapping) and (step in body or is_last_missing):
            body = body.get(step)
        else:
            continue
        steps.append(step)
    return steps


def _of_one_field(errors: Sequence[Mapping[str, Any]], body: Any) -> list[Mapping[str, Any]]:
    """From pydantic's errors about the first field, select those about the alternative that was meant.

    The most deeply nested errors are about that alternative. A list of the wrong length is enough by itself, since the
    other alternatives are not lists.
    """
    same = [error for error in errors if error["loc"][:2] == errors[0]["loc"][:2]]
    steps = [_steps(body, error) for error in same]
    deepest = max(steps, key=len)
    found = [error for error, at in zip(same, steps, strict=True) if at == deepest]
    return [error for error in found if error["type"] in ("too_long", "too_short")][:1] or found


def _wanted(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return a description of the expected value of a field, from the errors about each alternative."""
    messages = [str(error.get("msg", "is invalid")) for error in errors]
    messages = [re.sub(r" after validation, not [\d,]+$", "", one) for one in messages]
    messages = ["Input should be a JSON object" if "dictionary" in one else one for one in messages]
    kinds = [one.removeprefix(_SHOULD_BE) for one in dict.fromkeys(messages) if one.startswith(_SHOULD_BE)]
    message = _SHOULD_BE + " or ".join(kinds) if messages[0].startswith(_SHOULD_BE) else messages[0]
    return message[:1].lower() + message[1:]


def invalid(errors: Sequence[Mapping[str, Any]], body: Any, near: str = "") -> ApiError:
    """Convert the first of pydantic's errors to one for the client.

    Parameters
    ----------
    near : str
        End of the message about an unknown field, such as ``did you mean temperature?``.
    """
    alternatives = _of_one_field(errors, body)
    first = alternatives[0]
    loc, kind = list(first.get("loc", ())), first.get("type", "")
    if loc[:1] == ["body"]:
        steps = _steps(body, first)
        param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    else:
        param = ".".join(map(str, loc[1:]))
    if isinstance(first.get("input"), bytes):
        return ApiError(415, "the body must be JSON, with content-type: application/json")
    if kind == "extra_forbidden":
        return ApiError(400, f"unknown field: {param}" + (f"; {near}" if near else ""), param, "unknown_field")
    if kind == "missing" and not param:
        return ApiError(400, "the request has no body; expected a JSON object")
    is_null = "input" in first and first["input"] is None and bool(loc) and isinstance(loc[-1], str)
    if kind == "missing" or (is_null and param and kind.endswith(("_type", "_error"))):
        return ApiError(400, f"{param} is missing", param, "missing_field")
    if kind in ("model_type", "dict_type") and len(alternatives) == 1:  # pydantic would name the class
        given = "an array" if isinstance(first["input"], list) else json.dumps(first["input"])[:60]
        return ApiError(400, f"{param or 'the body'} must be a JSON object, got {given}", param or None)
    given = f", got {_abbreviated(first['input'])}" if "input" in first else ""
    return ApiError(400, f"{param or 'the body'}: {_wanted(alternatives)}{given}", param or None)


def _abbreviated(value: Any) -> str:
    """Describe a value of any length in a few words."""
    if isinstance(value, list | Mapping):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value[:60] if isinstance(value, str) else value)
