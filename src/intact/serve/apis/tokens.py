"""`/tokenize` and `/detokenize`: text to tokens and back."""

from __future__ import annotations

from typing import Any

from intact.serve.errors import ApiError
from intact.serve.generation import Service, apart
from intact.serve.messages import conversation
from intact.serve.requests import DetokenizeRequest, TokenizeRequest


async def tokenize(service: Service, request: TokenizeRequest) -> dict[str, Any]:
    """The tokens of a text; `add_special_tokens`: with what the model puts in front of one."""
    prompt, messages = request.prompt, request.messages
    if (prompt is None) == (messages is None):
        raise ApiError(400, "give a prompt or messages, and not both", "prompt")
    async with service.models.lease(request.model or service.models.first) as served:
        tokenizer = served.loaded.tokenizer
        if prompt is not None:
            bos = None if request.add_special_tokens else False
            ids = await apart(lambda: tokenizer.encode(prompt, bos=bos), "prompt")
        else:
            turns = conversation(messages or [])
            ids = await apart(lambda: tokenizer.encode_chat(turns, request.add_generation_prompt), "messages")
        return {"count": len(ids), "max_model_len": served.loaded.context, "tokens": ids}


async def detokenize(service: Service, request: DetokenizeRequest) -> dict[str, Any]:
    """The text of tokens, control tokens as they are written."""
    async with service.models.lease(request.model or service.models.first) as served:
        tokenizer = served.loaded.tokenizer
        return {"prompt": await apart(lambda: tokenizer.decode(request.tokens, skip_special=False), "tokens")}


async def described(service: Service) -> dict[str, Any]:
    """What harnesses want to know of the first model's tokenizer: how texts begin and end, the chat template."""
    async with service.models.lease(service.models.first) as served:
        tokenizer = served.loaded.tokenizer
        template = tokenizer.chat_template

        def spelt(token: int | None) -> str | None:
            return None if token is None else tokenizer.decode([token], skip_special=False)

        return {
            "tokenizer_class": "intact",
            "bos_token": spelt(tokenizer.bos_id),
            "eos_token": spelt(min(tokenizer.eos_ids, default=None)),
            "chat_template": None if template is None else template.source_text,
        }
