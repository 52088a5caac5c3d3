"""`/v1/rerank`: rank documents by how well they answer a query, in the format of Jina's and Cohere's APIs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from intact._base.errors import ParameterError
from intact.engine.reranking import INSTRUCTION, Ranked
from intact.engine.sampling.parameters import SamplingParameters
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Count, FormRoute
from intact.serve.generation import TextJob, admitted
from intact.serve.leniency import LenientForm
from intact.serve.replies import JsonReply
from intact.serve.requests import Extension
from intact.serve.service import Client, Service, TheService, in_thread, text_length

router = APIRouter(route_class=FormRoute)


class Document(BaseModel):
    """A document given as an object."""

    text: str


class RerankRequest(LenientForm):
    """`/v1/rerank`."""

    model: str
    query: str
    documents: list[str | Document]
    top_n: Count | None = None
    return_documents: bool = True
    instruction: str = INSTRUCTION
    intact: Extension = Extension()


@router.post("/v1/rerank")
async def rerank(body: RerankRequest, service: TheService, client: Client) -> JsonReply:
    """Rank documents by relevance."""
    body.intact.accept_only({"priority", "deadline"}, "on /v1/rerank")
    texts = [one if isinstance(one, str) else one.text for one in body.documents]

    async def answer() -> dict[str, Any]:
        ranked = await _rank(service, body, texts, client)
        results = [
            {
                "index": one.index,
                "relevance_score": one.score,
                **({"document": {"text": texts[one.index]}} if body.return_documents else {}),
            }
            for one in ranked[: body.top_n]
        ]
        total = sum(one.tokens for one in ranked)
        return {"model": body.model, "results": results, "usage": {"prompt_tokens": total, "total_tokens": total}}

    return JsonReply(answer, service.seconds(body.intact.deadline))


async def _rank(service: Service, body: RerankRequest, texts: list[str], client: str) -> list[Ranked]:
    most = service.settings.max_choices
    if not 1 <= len(texts) <= most:
        raise ApiError(400, f"documents must have 1 to {most} texts, got {len(texts)}", "documents")
    async with service.models.lease(body.model) as served:
        loaded = served.loaded

        def read() -> Any:
            try:
                return loaded.rerank_prompts(body.query, texts, body.instruction)
            except ParameterError as error:
                raise as_api_error(error, ["model", "documents"]) from error

        head, prompts = await in_thread(read, length=text_length([body.query, texts]))
        jobs = [TextJob(ids, 1, SamplingParameters(max_tokens=1), client, own=body.intact) for ids in prompts]
        async with admitted(served, jobs, "rerank", "documents") as admission:
            found = await loaded.arank(head, prompts, body.intact.priority)
            admission.used = sum(one.tokens for one in found)
            return found
