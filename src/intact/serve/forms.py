"""Request bodies: parse JSON to validated forms in bounded time and memory, in a separate thread if they are long.

The cost of JSON depends on the number of values, not of bytes: an object takes only three bytes. Values are counted
before any is created, and validation stops at the first error.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeGuard, TypeVar, get_args

from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticKnownError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from intact._base.strict_json import is_too_deep
from intact._base.suggest import did_you_mean
from intact.serve.errors import ApiError, invalid
from intact.serve.settings import ServerSettings

T = TypeVar("T")
F = TypeVar("F", bound=BaseModel)

VALUES = 1 << 18
"""Maximum number of values in a body, including objects and lists."""
WARNING = "intact-warning"
"""Response header that lists the parts of the request that were ignored or reinterpreted."""
LONG = 1 << 16
"""Minimum size in bytes of a body that is parsed in a thread."""
_PARSER = ThreadPoolExecutor(1, "intact-bodies")
"""A single thread, so that several long bodies take no more memory than one."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)

Number = Annotated[float, Field(allow_inf_nan=False)]
Rounded = Annotated[Number, AfterValidator(lambda number: round(number, 6))]
"""A number rounded to the 6 decimals used in sampling, since clients send approximations such as 0.1 * 3."""
Positive = Annotated[Number, AfterValidator(lambda number: round(number, 6) or (1e-6 if number > 0 else number))]
"""A rounded number that stays positive: very small values, such as 1e-9, become the smallest possible value."""
Count = Annotated[int, Field(ge=1)]
Many = Annotated[list[T], Field(fail_fast=True)]
"""A list of any length, for which only the first error is reported."""


def few(most: int) -> BeforeValidator:
    """Return a validator that limits the number of fields in an object; pydantic would validate all of them first."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > most:
            context = {"field_type": "Dictionary", "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", context)
        return value

    return BeforeValidator(check)


class Form(BaseModel):
    """A JSON object with known fields of strict types; null is the same as leaving a field out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def adapted(cls, value: Any, most_tokens: int) -> tuple[Any, list[str]]:
        """Return a body without fields of other servers, and warnings about the changes (`intact.serve.leniency`)."""
        return value, []

    @model_validator(mode="before")
    @classmethod
    def _without_unknown_null(cls, value: Any) -> Any:
        """Drop null unknown fields, which typed clients send, and all other unknown fields except the first."""
        if not isinstance(value, dict):
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        unknown = next((name for name, item in value.items() if item is not None and name not in known), None)
        return {name: item for name, item in value.items() if name in known or name == unknown}


def parse_json(text: bytes, what: str = "the body", param: str | None = None) -> Any:
    """Parse a JSON text as leniently as other servers of these APIs do; the forms then validate every value.

    Parameters
    ----------
    what, param : str
        Name of the JSON text in messages, and the field at fault.

    Raises
    ------
    ApiError
        400, with the position of the error; 413, if there are too many values.
    """
    if _values(text) > VALUES and _values(_STRING.sub(b"", text)) > VALUES:
        raise ApiError(413, f"{what} has more than {VALUES:,} values", param, "body_too_long")
    try:
        value = json.loads(text)
        if is_too_deep(value, text):
            raise RecursionError
        return value
    except json.JSONDecodeError as error:
        raise ApiError(400, f"{what} is not JSON: {error.msg} at character {error.pos}", param) from error
    except UnicodeDecodeError as error:
        raise ApiError(400, f"{what} is not valid UTF-8 at byte {error.start}", param) from error
    except RecursionError as error:
        raise ApiError(400, f"{what} is nested too deeply", param) from error
    except ValueError as error:  # Python reads no number that long
        raise ApiError(400, f"{what} contains a number with too many digits", param) from error


def _values(text: bytes) -> int:
    """Return a lower bound on the number of values in a JSON text whose strings were removed."""
    return sum(map(text.count, b",[{"))


def validate(form: type[F], value: Any) -> F:
    """Validate a value as a form.

    Raises
    ------
    ApiError
        400, naming the field at fault.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        errors = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise invalid(errors, value, _near(form, errors[0])) from error


def read_form(form: type[F], value: Any, settings: ServerSettings) -> tuple[F, list[str]]:
    """Parse a request's body as a form, as leniently as the server's settings allow; return it with any warnings.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    warnings: list[str] = []
    if not settings.strict and issubclass(form, Form):
        value, warnings = form.adapted(value, settings.max_tokens)
    return validate(form, value), warnings


def _near(form: type[BaseModel], error: Mapping[str, Any]) -> str:
    """Return ``did you mean A?`` for an unknown field of a form, or of a nested object of unambiguous type."""
    *outer, name = error["loc"][1:] or ("",)
    for step in outer:
        field = form.model_fields.get(str(step))
        models = [one for one in ((field.annotation, *get_args(field.annotation)) if field else ()) if _is_form(one)]
        if len(models) != 1:
            return ""
        form = models[0]
    return did_you_mean(str(name), [field.alias or own for own, field in form.model_fields.items()])


def _is_form(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


class FormRoute(APIRoute):
    """A route that parses and validates its body here; FastAPI takes the form unchanged."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the request handler."""
        handle = super().get_route_handler()
        form = None if self.body_field is None else self.body_field.field_info.annotation

        async def answer(request: Request) -> Response:
            typed = _FormRequest(form, request)
            response = await handle(typed)
            return _WithWarning(response, "; ".join(typed.warnings)) if typed.warnings else response

        return answer


class _WithWarning(Response):
    """A response with a header that lists the parts of the request that were ignored or reinterpreted."""

    def __init__(self, response: Response, warning: str) -> None:
        super().__init__()
        self._response, self._header = response, (WARNING.encode(), warning.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], self._header]}
            await send(message)

        await self._response(scope, receive, send_with_header)


class _FormRequest(Request):
    """A request whose JSON is an already parsed form."""

    def __init__(self, form: Any, request: Request) -> None:
        super().__init__(request.scope, request.receive)
        self._form_type: type[BaseModel] = form
        self._settings: ServerSettings = request.app.state.service.settings
        self.warnings: list[str] = []

    async def json(self) -> Any:
        body = await self.body()
        if len(body) < LONG:
            return self._parse(body)
        return await asyncio.get_running_loop().run_in_executor(_PARSER, self._parse, body)

    def _parse(self, body: bytes) -> BaseModel:
        form, self.warnings = read_form(self._form_type, parse_json(body), self._settings)
        return form
