"""Requests of Ollama's API, and their translation to OpenAI's fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from intact.serve import methods
from intact.serve.apis.ollama.options import OLLAMA_REPEATED, OPTIONS, REPEATED, OllamaOptions, check_neutral
from intact.serve.errors import ApiError, ErrorFormat
from intact.serve.forms import Form, FormRoute, Many, Number
from intact.serve.requests import TURNS, Extension, FunctionTool, Top
from intact.serve.service import Service

ERRORS = {"/api": ErrorFormat(lambda error: error.status, lambda error: {"error": error.message})}
"""The format of errors for paths below `/api`."""
_FIELDS = {known: theirs for theirs, known in OPTIONS.items()} | {
    "response_format": "format",
    "json_schema": "format",
    "chat_template_kwargs": "think",
}
"""Maps OpenAI's field names to Ollama's, for error messages."""
_NAMES = re.compile(r"\b(?:" + "|".join(_FIELDS) + r")\b")
_CONTENTS = ("content", "reasoning_content", "tool_calls")
"""Fields of an assistant turn; if all of them are empty, so is the turn."""
LATEST = ":latest"


class JsonRoute(FormRoute):
    """A route that parses any body as JSON, since clients of Ollama such as curl often omit the content type.

    Pages from other origins are rejected by their `origin` header (`intact.serve.middleware`), regardless of their
    content.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the request handler."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            headers = [each for each in request.scope["headers"] if each[0] != b"content-type"]
            scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
            return await handle(Request(scope, request.receive))

        return answer


class OllamaFunction(Form):
    """A function called by a model; its arguments are an object."""

    name: str
    arguments: dict[str, Any] | None = None
    description: str | None = None
    index: int | None = None


class OllamaCall(Form):
    """A tool call by an assistant."""

    id: str | None = None
    type: Literal["function"] | None = None
    function: OllamaFunction

    def as_fields(self) -> dict[str, Any]:
        """Return the call in the format of the OpenAI API."""
        arguments = json.dumps(self.function.arguments or {}, ensure_ascii=False)
        return {"id": self.id, "function": {"name": self.function.name, "arguments": arguments}}


class OllamaMessage(Form):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: Many[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None

    def as_fields(self, where: str) -> dict[str, Any]:
        """Return the turn in the format of the OpenAI API; errors as for `refuse_images`."""
        refuse_images(self.images, f"{where}.images")
        return {
            "role": self.role,
            "content": self.content or "",
            "name": self.tool_name,
            "tool_call_id": self.tool_call_id,
            "reasoning_content": self.thinking,
            "tool_calls": [call.as_fields() for call in self.tool_calls] if self.tool_calls else None,
        }


def refuse_images(images: list[Any] | None, where: str) -> None:
    """Reject images.

    Raises
    ------
    ApiError
        400, if there are any.
    """
    if images:
        raise ApiError(400, f"{where}: this model reads only text", where, "unsupported")


class OllamaTool(Form):
    """A tool; only functions are supported."""

    type: Literal["function"] = "function"
    function: FunctionTool


class TextForm(Form):
    """Fields shared by all generation requests. `keep_alive` has no effect: models stay loaded, within `--memory`."""

    model: str
    stream: bool | None = None
    options: OllamaOptions | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: Top | None = None
    keep_alive: str | Number | None = None
    truncate: bool | None = None
    shift: bool | None = None
    intact: Extension = Extension()

    @classmethod
    def adapted(cls, value: Any, most_tokens: int) -> tuple[Any, list[str]]:
        """Return the body with Ollama's default for `repeat_last_n` replaced by this server's, and any warnings."""
        options = value.get("options") if isinstance(value, dict) else None
        if not isinstance(options, dict) or options.get(REPEATED) != OLLAMA_REPEATED:
            return value, []
        warning = f"options.{REPEATED} {OLLAMA_REPEATED} is read as -1: penalties count all tokens"
        return {**value, "options": {**options, REPEATED: -1}}, [warning]

    @property
    def streamed(self) -> bool:
        """If true, the response is a stream of lines, which is Ollama's default."""
        return self.stream is not False

    @property
    def text_schema(self) -> dict[str, Any] | None:
        """The schema that the text must match."""
        if isinstance(self.format, str):
            return {"type": "object"} if self.format else None
        return self.format

    def as_fields(self, service: Service) -> dict[str, Any]:
        """Return the fields that all conversations share, in the format of the OpenAI API.

        Raises
        ------
        ApiError
            400, naming the field; 404, if there is no such model.
        """
        check_neutral(self)
        self.intact.accept_only(Extension.model_fields.keys() - {"progress"}, "on /api")
        fields = {} if self.options is None else self.options.as_fields()
        fields["model"] = find_name(service, self.model)
        if (schema := self.text_schema) is not None:
            fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        fields |= {"logprobs": self.logprobs, "top_logprobs": self.top_logprobs}
        return fields | {"intact": self.intact.model_dump(exclude_unset=True)}


class OllamaChatRequest(TextForm):
    """`/api/chat`."""

    messages: Annotated[Many[OllamaMessage], Field(max_length=TURNS)] | None = None
    tools: Annotated[Many[OllamaTool], Field(max_length=128)] | None = None

    def as_chat(self, service: Service) -> dict[str, Any]:
        """Return the fields of a chat, which continues a final assistant message unless it is empty.

        Errors as for `as_fields`.
        """
        fields = self.as_fields(service)
        turns = [message.as_fields(f"messages[{i}]") for i, message in enumerate(self.messages or [])]
        if turns[1:] and turns[-1]["role"] == "assistant" and not any(turns[-1][name] for name in _CONTENTS):
            del turns[-1]
        tools = [tool.model_dump(exclude_none=True) for tool in self.tools or []]
        unfinished = {"continue_final_message": True} if turns and turns[-1]["role"] == "assistant" else {}
        return fields | {"messages": turns, "tools": tools or None} | unfinished


class GenerateForm(TextForm):
    """`/api/generate`."""

    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None
    template: str | None = None
    suffix: str | None = None
    context: list[int] | None = None
    images: list[Any] | None = None

    def check(self) -> None:
        """Reject fields that are unsupported or would have no effect.

        Raises
        ------
        ApiError
            400, naming the field.
        """
        refuse_images(self.images, "images")
        reasons = {
            "template": "the model's own template is used; send a whole prompt with raw",
            "context": "send the conversation to /api/chat, where cached tokens are not read again",
        }
        for name, reason in reasons.items():
            if getattr(self, name):
                raise ApiError(400, f"{name} is not supported: {reason}", name, "unsupported")
        if (plain := "raw" if self.raw else "suffix" if self.suffix else "") and self.system:
            raise ApiError(400, f"system has no effect with {plain}: put it into the prompt", "system", "unsupported")
        if plain and self.think is not None:
            raise ApiError(400, f"think has no effect with {plain}", "think", "unsupported")

    def as_chat(self, service: Service) -> dict[str, Any]:
        """Return the fields of a chat with only this question; errors as for `as_fields`."""
        turns = [{"role": "user", "content": self.prompt}]
        if self.system:
            turns.insert(0, {"role": "system", "content": self.system})
        return self.as_fields(service) | {"messages": turns}


def find_name(service: Service, name: str) -> str:
    """Return this server's name for a model; Ollama's clients may append the tag `latest`.

    Raises
    ------
    ApiError
        404, if there is no such model.
    """
    for known in (name, name.removesuffix(LATEST)):
        if methods.split(known)[0] in service.models.names:
            return known
    if methods.split(untagged := name.removesuffix(LATEST))[0] in service.models:  # whatever its suffix
        return untagged
    names = ", ".join(service.models.names)
    raise ApiError(404, f"model {name!r:.200} not found; available: {names}", "model", "model_not_found")


def renamed(error: ApiError) -> ApiError:
    """Return the error with Ollama's field names."""
    if error.param is not None:
        error.param = _NAMES.sub(lambda found: _FIELDS[found[0]], error.param)
    error.message = _NAMES.sub(lambda found: _FIELDS[found[0]], error.message)
    return error
