"""From the bytes of a body to a form, in bounded time and memory, and beside the event loop where it is long.

What JSON costs is its values, not its bytes: three bytes are an object. Values are counted before any is made, and a
form tells the first thing that is wrong, not all of them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from intact.serve.errors import ApiError, invalid

F = TypeVar("F", bound=BaseModel)

VALUES = 1 << 18
"""The most values of a body, objects and lists included."""
LONG = 1 << 16
"""Bytes from which a body is read beside the event loop."""
_READER = ThreadPoolExecutor(1, "intact-bodies")
"""One at a time, so that many long bodies take no more memory than one."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def parsed(text: bytes, what: str = "the body", param: str | None = None) -> Any:
    """The value of a JSON text.

    Parameters
    ----------
    what, param : str
        What it is, in messages, and the field that is at fault.

    Raises
    ------
    ApiError
        400, saying where it is no JSON; 413, if it has too many values.
    """
    if _values(text) > VALUES and _values(_STRING.sub(b"", text)) > VALUES:
        raise ApiError(413, f"{what} has more than {VALUES:,} values", param, "body_too_long")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ApiError(400, f"{what} is no JSON: {error.msg} at character {error.pos}", param) from error
    except UnicodeDecodeError as error:
        raise ApiError(400, f"{what} is not in UTF-8, at byte {error.start}", param) from error
    except RecursionError as error:
        raise ApiError(400, f"{what} has lists or objects that are nested too deep", param) from error
    except ValueError as error:  # Python reads no number that long
        raise ApiError(400, f"{what} has a number of too many digits", param) from error


def _values(text: bytes) -> int:
    """At least how many values a text has, if there are no strings in it, but one or so."""
    return sum(map(text.count, b",[{"))


def formed(form: type[F], value: Any) -> F:
    """A value as a form.

    Raises
    ------
    ApiError
        400, naming the field that is at fault.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise invalid(errors, value) from error


class BodyRoute(APIRoute):
    """A route that reads its body so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handle = super().get_route_handler()
        form = None if self.body_field is None else self.body_field.field_info.annotation

        async def answer(request: Request) -> Response:
            return await handle(_Read(form, request))

        return answer


class _Read(Request):
    """A request whose JSON is a form already: FastAPI takes that as it is."""

    def __init__(self, form: Any, request: Request) -> None:
        super().__init__(request.scope, request.receive)
        self._wanted = form

    async def json(self) -> Any:
        body = await self.body()
        if len(body) < LONG:
            return self._read(body)
        return await asyncio.get_running_loop().run_in_executor(_READER, self._read, body)

    def _read(self, body: bytes) -> BaseModel:
        form: BaseModel = formed(self._wanted, parsed(body))
        return form
