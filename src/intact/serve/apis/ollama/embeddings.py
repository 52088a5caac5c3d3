"""`/api/embed` and the older `/api/embeddings`: text embeddings."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from intact.serve.apis.ollama import forms
from intact.serve.apis.ollama.forms import JsonRoute, find_name
from intact.serve.apis.openai.embeddings import embed
from intact.serve.forms import Count, Form, Many, Number
from intact.serve.replies import JsonReply
from intact.serve.requests import Extension
from intact.serve.service import Client, TheService

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


class EmbedForm(Form):
    """`/api/embed`. `keep_alive` has no effect; overlong input is an error, regardless of `truncate`."""

    model: str
    input: str | Many[str] = ""
    dimensions: Count | None = None
    truncate: bool | None = None
    keep_alive: str | Number | None = None
    options: dict[str, Any] | None = None


class EmbeddingsForm(Form):
    """`/api/embeddings`."""

    model: str
    prompt: str = ""
    keep_alive: str | Number | None = None
    options: dict[str, Any] | None = None


@router.post("/api/embed")
async def embed_texts(body: EmbedForm, service: TheService, client: Client) -> JsonReply:
    """Embed one or several inputs."""
    name, began = find_name(service, body.model), time.perf_counter_ns()

    async def answer() -> dict[str, Any]:
        found = await embed(service, name, body.input, body.dimensions, client=client, own=Extension())
        return {
            "model": body.model,
            "embeddings": [one.vector.tolist() for one in found],
            "total_duration": time.perf_counter_ns() - began,
            "load_duration": 0,
            "prompt_eval_count": sum(one.tokens for one in found),
        }

    return JsonReply(answer, service.seconds())


@router.post("/api/embeddings")
async def embed_text(body: EmbeddingsForm, service: TheService, client: Client) -> JsonReply:
    """Embed a single input."""
    name = find_name(service, body.model)

    async def answer() -> dict[str, Any]:
        (found,) = await embed(service, name, body.prompt, None, client=client, own=Extension())
        return {"embedding": found.vector.tolist()}

    return JsonReply(answer, service.seconds())
