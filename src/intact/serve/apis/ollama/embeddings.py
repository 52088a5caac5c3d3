"""`/api/embed` and `/api/embeddings`: errors, as no model here gives embeddings."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from intact.serve.apis.ollama import forms
from intact.serve.apis.ollama.forms import JsonRoute, find_name
from intact.serve.errors import ApiError
from intact.serve.service import TheService

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


class EmbedRequest(BaseModel):
    """`/api/embed` and the older `/api/embeddings`."""

    model: str
    input: Any = None
    prompt: Any = None


@router.post("/api/embeddings")
@router.post("/api/embed")
async def embed(body: EmbedRequest, service: TheService) -> Response:
    """Refuse: none of the supported architectures gives embeddings."""
    name = find_name(service, body.model)
    raise ApiError(400, f"{name} writes text; this model does not support embeddings", "model", "unsupported")
