"""`/api/chat`: continue a conversation."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from intact.serve.apis.ollama import forms, texts
from intact.serve.apis.ollama.forms import JsonRoute, OllamaChatRequest, find_name
from intact.serve.forms import validate
from intact.serve.replies import CancellableResponse
from intact.serve.requests import ChatRequest
from intact.serve.service import Client, TheService

ERRORS = forms.ERRORS
router = APIRouter(route_class=JsonRoute)


@router.post("/api/chat")
async def chat(body: OllamaChatRequest, service: TheService, client: Client) -> CancellableResponse:
    """Continue a conversation, or answer it with a reasoning method; without messages, load the model."""
    if not body.messages:
        return texts.load(service, body, find_name(service, body.model), _message)

    async def begin(watch: texts.Stopwatch) -> texts.Parts:
        request = await asyncio.to_thread(lambda: validate(ChatRequest, body.as_chat(service)))  # may be long
        return texts.chat_parts(service, request, client, body.think, watch=watch)

    return texts.respond(service, body, begin, _message)


def _message(part: texts.ReplyPart) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": part.content}
    if part.thinking:
        message["thinking"] = part.thinking
    if part.calls:
        message["tool_calls"] = part.calls
    return {"message": message}
