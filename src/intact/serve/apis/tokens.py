"""`/tokenize`, `/detokenize` and `/tokenizer_info`, compatible with vLLM: text to tokens and back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from intact.serve.errors import ApiError
from intact.serve.forms import Form, FormRoute, Many
from intact.serve.replies import CancellableResponse, JsonReply
from intact.serve.requests import RenderedForm, Turns, as_turns
from intact.serve.service import Service, TheService, in_thread, text_length
from intact.text import ChatPrompt

router = APIRouter(route_class=FormRoute)


class TokenizeRequest(RenderedForm):
    """`/tokenize`: a string or a conversation, and a model, which defaults to the server's first.

    With `control_tokens`, the spellings of control tokens in message contents become those tokens.
    """

    model: str | None = None
    prompt: str | None = None
    messages: Turns | None = None
    add_special_tokens: bool = True
    control_tokens: bool = False


class DetokenizeRequest(Form):
    """`/detokenize`: tokens, and a model, which defaults to the server's first; with `each`, also each token's text."""

    model: str | None = None
    tokens: Many[int]
    each: bool = False


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, service: TheService) -> CancellableResponse:
    """Return the tokens of a string or a conversation."""
    return JsonReply(lambda: _tokenize(service, body), service.seconds())


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, service: TheService) -> CancellableResponse:
    """Return the text of tokens."""
    return JsonReply(lambda: _detokenize(service, body), service.seconds())


@router.get("/tokenizer_info")
async def tokenizer_info(service: TheService) -> CancellableResponse:
    """Describe the first model's tokenizer."""
    return JsonReply(lambda: _describe(service), service.seconds())


async def _tokenize(service: Service, request: TokenizeRequest) -> dict[str, Any]:
    """Return the tokens of a string; with `add_special_tokens`, including those that the model prepends."""
    prompt, messages = request.prompt, request.messages
    if (prompt is None) == (messages is None):
        raise ApiError(400, "give either a prompt or messages, not both", "prompt")
    async with service.models.lease(request.model or service.models.first) as served:
        tokenizer, most = served.loaded.tokenizer, served.loaded.context
        if prompt is not None:
            bos = None if request.add_special_tokens else False
            ids = await in_thread(lambda: tokenizer.encode(prompt, bos=bos, most=most), "prompt", len(prompt))
        else:
            turns = as_turns(messages or [])
            conversation = ChatPrompt(turns, request.ending(), control_tokens=request.control_tokens)
            length = text_length(conversation.messages)
            ids = await in_thread(lambda: conversation.encode(tokenizer, most), "messages", length)
        return {"count": len(ids), "max_model_len": most, "tokens": ids}


async def _detokenize(service: Service, request: DetokenizeRequest) -> dict[str, Any]:
    """Return the text of tokens, including control tokens."""
    async with service.models.lease(request.model or service.models.first) as served:
        tokenizer, tokens = served.loaded.tokenizer, request.tokens

        def spell() -> dict[str, Any]:
            answer: dict[str, Any] = {"prompt": tokenizer.decode(tokens, skip_special=False)}
            if request.each:
                answer["pieces"] = [tokenizer.token_bytes(token).decode(errors="replace") for token in tokens]
            return answer

        return await in_thread(spell, "tokens")


async def _describe(service: Service) -> dict[str, Any]:
    """Return the parts of the first model's tokenizer that evaluation harnesses need: first tokens, chat template."""
    async with service.models.lease(service.models.first) as served:
        tokenizer = served.loaded.tokenizer
        template = tokenizer.chat_template

        def spelling(token: int | None) -> str | None:
            return None if token is None else tokenizer.decode([token], skip_special=False)

        return {
            "tokenizer_class": "intact",
            "bos_token": spelling(tokenizer.bos_id),
            "eos_token": spelling(min(tokenizer.eos_ids, default=None)),
            "chat_template": None if template is None else template.source_text,
        }
