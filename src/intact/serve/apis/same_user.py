"""`/v1/same-user`: completions for the same user's commands, with their own seed and sampling; only on the Unix socket.

`intact run` and `intact chat` request exactly what they would compute themselves, and get bit-identical results.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

import intact
from intact.engine.completion import Chunk, Completion
from intact.engine.sampling.parameters import SamplingParameters
from intact.library import Model
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Count, Form, FormRoute, Many
from intact.serve.generation import TextJob, admitted
from intact.serve.middleware import is_same_user
from intact.serve.models import Served
from intact.serve.replies import LINES, EventStream, encode, reply
from intact.serve.requests import Extension
from intact.serve.service import Client, Service, TheService, in_thread, receipt_document, text_length
from intact.text import ChatPrompt
from intact.text.template import read_time

router = APIRouter(route_class=FormRoute)


class SameUserRequest(Form):
    """A prompt with its generation settings.

    Attributes
    ----------
    version : str
        Version of the client's intact.
    digests : dict
        The model's digests, as returned by `ModelDigests.to_document`.
    profile : str
        The arithmetic profile.
    prompt : str or None
        The text to continue; otherwise `messages`, the time `now`, and `control_tokens`, as in `ChatPrompt`.
    sampling : str
        Sampling parameters, as written by `SamplingParameters.to_json`.
    chunks : bool
        If true, completions are sent token by token; otherwise as a whole.
    """

    version: str
    digests: dict[str, Any]
    profile: str
    prompt: str | None = None
    messages: Many[dict[str, Any]] = Field(default=[])
    now: str = ""
    control_tokens: bool = False
    sampling: str
    n: Count = 1
    logprobs: bool = False
    receipt: bool = False
    draft: bool = True
    chunks: bool = True


@router.get("/v1/same-user")
async def describe(request: Request, service: TheService) -> Response:
    """Describe the models in memory."""
    _check(request)
    models = [_described(served) for served in service.models.served.values() if served.model is not None]
    return reply({"version": intact.__version__, "models": models})


@router.post("/v1/same-user/texts")
async def texts(body: SameUserRequest, request: Request, service: TheService, client: Client) -> Response:
    """Continue a prompt; send one line of JSON per chunk and per finished completion."""
    _check(request)
    return EventStream(_lines(body, service, client), math.inf, LINES)


def _check(request: Request) -> None:
    if not is_same_user(request.scope):
        raise ApiError(404, "not found", code="not_found")


def _described(served: Served) -> dict[str, Any]:
    model, found = served.loaded, served.loaded.sampling_defaults
    return {
        "name": served.name,
        "digests": served.digests,
        "profile": model.executor.profile,
        "context": model.context,
        "has_template": model.tokenizer.chat_template is not None,
        "sampling_defaults": {"values": found.values, "source": found.source},
    }


def _find(service: Service, request: SameUserRequest) -> str:
    """Return the name of the requested model.

    Raises
    ------
    ApiError
        404, if the model is not in memory, or the client's version of intact differs.
    """
    wanted = request.version, request.digests, request.profile
    for served in service.models.served.values():
        if served.model is not None and wanted == (intact.__version__, served.digests, served.model.executor.profile):
            return served.name
    raise ApiError(404, "this server does not have this model in memory", code="model_not_found")


async def _lines(request: SameUserRequest, service: Service, client: str) -> AsyncGenerator[bytes, None]:
    async with service.models.lease(_find(service, request)) as served:
        model = served.loaded
        prompt, parameters = await in_thread(lambda: _read(request))
        length = text_length(prompt if isinstance(prompt, str) else list(prompt.messages))
        tokens = await in_thread(lambda: _encode(model, prompt), length=length)
        job = TextJob(tokens, request.n, parameters, client, own=Extension(receipt=request.receipt))
        arguments: dict[str, Any] = {**job.arguments(request.logprobs), "draft": request.draft}
        async with admitted(served, [job], "text", "prompt") as admission:
            completions: list[Completion] = []
            if not request.chunks:
                ((completions),) = await model.agenerate([prompt], request.n, **arguments)
                for sample, completion in enumerate(completions):
                    yield _line(sample, _whole(completion))
            else:
                async with aclosing(model.asamples(prompt, request.n, **arguments)) as samples:
                    async for sample, part in samples:
                        if isinstance(part, Chunk):
                            yield _line(sample, _part(model, part))
                            continue
                        if part.error is not None:
                            raise as_api_error(part.error)
                        completions.append(part)
                        yield _line(sample, _whole(part))
            admission.used = len(tokens) + sum(len(one.tokens) for one in completions)


def _read(request: SameUserRequest) -> tuple[str | ChatPrompt, SamplingParameters]:
    parameters = SamplingParameters.from_json(request.sampling)
    if request.prompt is not None:
        return request.prompt, parameters
    now = read_time(request.now)
    return ChatPrompt(request.messages, now=now, control_tokens=request.control_tokens), parameters


def _encode(model: Model, prompt: str | ChatPrompt) -> list[int]:
    if isinstance(prompt, str):
        return model.tokenizer.encode(prompt, most=model.context)
    return prompt.encode(model.tokenizer, model.context)


def _line(sample: int, value: dict[str, Any]) -> bytes:
    return encode({"sample": sample, **value}) + b"\n"


def _part(model: Model, chunk: Chunk) -> dict[str, Any]:
    tokenizer = model.tokenizer
    spelling = tokenizer.token_bytes(chunk.token) if chunk.token < tokenizer.size else b""
    value = {
        "text": chunk.text,
        "token": chunk.token,
        "logprob": chunk.logprob,
        "bytes": b64encode(spelling).decode(),
        "finish": chunk.finish,
    }
    return value if chunk.receipt is None else {**value, "receipt": chunk.receipt.to_document()}


def _whole(completion: Completion) -> dict[str, Any]:
    return {
        "completion": {
            "text": completion.text,
            "tokens": completion.tokens,
            "logprobs": completion.logprobs,
            "finish": completion.finish,
            "prompt_tokens": completion.prompt_tokens,
            "stop": completion.stop,
            "receipt": receipt_document(completion),
        }
    }
