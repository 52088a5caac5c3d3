"""`/api/generate`: answer a single question, continue a raw prompt (`raw`), or fill in text before a `suffix`."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter

from intact.serve import methods
from intact.serve.apis.ollama import forms, texts
from intact.serve.apis.ollama.forms import GenerateForm, JsonRoute, find_name
from intact.serve.chat import Chat
from intact.serve.errors import ApiError
from intact.serve.forms import validate
from intact.serve.generation import TextJob, admitted, encode_text
from intact.serve.replies import CancellableResponse
from intact.serve.requests import TEXT_FIELDS, ChatRequest, CompletionRequest, check_limit
from intact.serve.service import Client, Service, TheService

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


@router.post("/api/generate")
async def generate(body: GenerateForm, service: TheService, client: Client) -> CancellableResponse:
    """Answer a question, or continue a prompt; without a prompt, load the model."""
    body.check()
    if not (body.prompt or body.suffix):
        return texts.load(service, body, find_name(service, body.model), _response)

    async def begin(watch: texts.Stopwatch) -> texts.Parts:
        if body.raw or body.suffix:
            return _raw_parts(service, body, client, watch)
        request = validate(ChatRequest, body.as_chat(service))
        return texts.chat_parts(service, request, client, body.think, watch=watch)

    return texts.respond(service, body, begin, _response)


def _response(part: texts.ReplyPart) -> dict[str, Any]:
    return {"response": part.content} | ({"thinking": part.thinking} if part.thinking else {})


async def _raw_parts(service: Service, body: GenerateForm, client: str, watch: texts.Stopwatch) -> texts.Parts:
    """Continue a prompt, or fill in text before a suffix, as `/v1/completions` does."""
    fields = body.as_fields(service)
    logprobs, top = bool(fields.pop("logprobs")), fields.pop("top_logprobs")
    if top and not logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true", "top_logprobs")
    fields.pop("response_format", None)
    request, prompt = validate(CompletionRequest, fields | {"prompt": body.prompt}), body.prompt or ""
    mode = "raw" if body.raw else "suffix"
    request.intact.accept_only(TEXT_FIELDS, f"with {mode}")
    if methods.choice_of(request, service.models) is not None:
        raise ApiError(400, f"{mode} cannot be combined with a reasoning method", mode, "unsupported")
    limit = None if request.max_tokens is None else check_limit(request.max_tokens, service.settings, "max_tokens")
    async with service.models.lease(request.model) as served:
        watch.loaded, context = time.perf_counter_ns(), served.loaded.context
        ids = await encode_text(served, prompt, body.suffix or None)
        if limit is None:
            limit = min(max(1, context - len(ids)), service.settings.max_tokens)
        parameters = request.sampling(limit, top or 0, json_schema=body.text_schema)
        job = TextJob(ids, 1, parameters, client, own=request.intact, constraint="response_format", text=prompt)
        async with admitted(served, [job], "text_completion", "prompt") as admission:
            chat = Chat(served, job, admission, logprobs=logprobs)
            async with aclosing(texts.written(chat, watch)) as parts:
                async for part in parts:
                    yield part
