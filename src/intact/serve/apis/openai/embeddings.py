"""`/v1/embeddings`: text embeddings, for models whose files specify a pooling method."""

from __future__ import annotations

import base64
from typing import Any, Literal

from fastapi import APIRouter

from intact._base.errors import ParameterError
from intact.engine.embedding import Embedding
from intact.engine.sampling.parameters import SamplingParameters
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Count, FormRoute
from intact.serve.generation import TextJob, admitted, each_prompt, encode_text
from intact.serve.leniency import LenientForm
from intact.serve.models import Served
from intact.serve.replies import JsonReply
from intact.serve.requests import Extension, Prompt
from intact.serve.service import Client, Service, TheService

router = APIRouter(route_class=FormRoute)


class EmbeddingRequest(LenientForm):
    """`/v1/embeddings`."""

    model: str
    input: Prompt
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    user: str | None = None
    intact: Extension = Extension()


@router.post("/v1/embeddings")
async def embeddings(body: EmbeddingRequest, service: TheService, client: Client) -> JsonReply:
    """Embed one or several inputs."""
    body.intact.accept_only({"priority", "deadline"}, "on /v1/embeddings")

    async def answer() -> dict[str, Any]:
        found = await embed(service, body.model, body.input, body.dimensions, client=client, own=body.intact)
        count = sum(one.tokens for one in found)
        write = _base64 if body.encoding_format == "base64" else _floats
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": write(one)} for i, one in enumerate(found)],
            "model": body.model,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }

    return JsonReply(answer, service.seconds(body.intact.deadline))


def _floats(one: Embedding) -> list[float]:
    return [float(value) for value in one.vector]


def _base64(one: Embedding) -> str:
    return base64.b64encode(one.vector.astype("<f4").tobytes()).decode()


async def embed(
    service: Service,
    model: str,
    texts: str | list[str] | list[int] | list[list[int]],
    dimensions: int | None,
    client: str,
    own: Extension,
) -> list[Embedding]:
    """Return the vectors of strings, or of lists of tokens.

    Raises
    ------
    ApiError
        If the model does not support embeddings, or an input is empty or too long; the field at fault is `model`,
        `input` or `dimensions`.
    """
    prompts, most = each_prompt(texts, "input"), service.settings.max_choices
    if len(prompts) > most:
        raise ApiError(400, f"{len(prompts)} texts exceed the limit of {most}", "input")
    async with service.models.lease(model) as served:
        _check(served, dimensions)
        jobs = []
        for i, prompt in enumerate(prompts):
            where = f"input[{i}]" if len(prompts) > 1 else "input"
            ids = await encode_text(served, prompt, None, where)
            jobs.append(TextJob(ids, 1, SamplingParameters(max_tokens=1), client, own=own))
        async with admitted(served, jobs, "embeddings", "input") as admission:
            read = [job.prompt for job in jobs]
            found = await served.loaded.aembed(read, dimensions=dimensions, priority=own.priority)
            admission.used = sum(one.tokens for one in found)
            return found


def _check(served: Served, dimensions: int | None) -> None:
    if why := served.loaded.why_no_embeddings:
        raise ApiError(400, f"this model does not support embeddings: {why}", "model", "unsupported")
    try:
        served.loaded.embedding_size(dimensions)
    except ParameterError as error:
        raise as_api_error(error, ["dimensions"]) from error
