"""`/v1/messages` and `/v1/messages/count_tokens`: conversations in Anthropic's format. This module is optional."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from intact.serve import methods
from intact.serve.apis.anthropic import thinking
from intact.serve.apis.anthropic.answer import CHAT, MESSAGE, MessageAnswer
from intact.serve.apis.anthropic.errors import ERROR_FORMAT
from intact.serve.apis.anthropic.forms import MessagesRequest, TokensRequest
from intact.serve.apis.anthropic.translation import translated
from intact.serve.chat import encode_prompt
from intact.serve.forms import FormRoute
from intact.serve.replies import CancellableResponse, EventStream, JsonReply
from intact.serve.requests import CHAT_FIELDS
from intact.serve.service import Client, Service, TheService

ERRORS = {"/v1/messages": ERROR_FORMAT}

router = APIRouter(route_class=FormRoute)


@router.post("/v1/messages")
async def messages(body: MessagesRequest, service: TheService, client: Client) -> CancellableResponse:
    """Continue a conversation, in Anthropic's format."""
    answer, seconds = MessageAnswer(service, body, client), service.seconds(body.intact.deadline)
    return EventStream(answer.encoded_events(), seconds) if body.stream else JsonReply(answer.whole, seconds)


@router.post("/v1/messages/count_tokens")
async def count_tokens(body: TokensRequest, service: TheService) -> CancellableResponse:
    """Return the number of tokens in a conversation's prompt."""
    return JsonReply(lambda: _count(service, body), service.seconds())


async def _count(service: Service, request: TokensRequest) -> dict[str, int]:
    async with translated(request) as chat_request:
        chat = chat_request.checked(service.settings, CHAT_FIELDS, "on the number of tokens")
        async with service.models.lease(methods.split(request.model)[0]) as served:
            thinking.check(request, served)
            return {"input_tokens": len(await encode_prompt(served, chat))}


@router.get(f"/v1/receipts/{MESSAGE}{{name}}")
async def receipts(name: str, service: TheService, client: Client) -> Response:
    """Return the receipts of a recent message."""
    return service.receipts.response(client, CHAT + name)
