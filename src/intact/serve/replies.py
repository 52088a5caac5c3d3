"""What answers have in common."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from intact.engine.completion import Completion
from intact.serve.generation import Order
from intact.serve.kept import documented
from intact.serve.models import Served

FINISH = {"stop": "stop", "length": "length", "context": "length"}
"""Why a text ended, in OpenAI's words."""
_PREFIXES = {"chat.completion": "chatcmpl", "chat.completion.chunk": "chatcmpl", "text_completion": "cmpl"}


def head(served: Served, kind: str, model: str) -> dict[str, Any]:
    """Who answers, with what, and when: identifier and time are all that differs from one answer to its repetition."""
    return {
        "id": f"{_PREFIXES[kind]}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": served.fingerprint,
    }


def receipt_of(order: Order, completion: Completion) -> dict[str, Any]:
    """A choice's receipt, if one was asked for."""
    return {"receipt": documented(completion)} if order.receipt else {}


def used(order: Order, completions: Sequence[Completion]) -> int:
    """Tokens that an order took until now."""
    return len(order.prompt) + sum(len(completion.tokens) for completion in completions)


def usage(orders: Sequence[Order], completions: Sequence[Completion]) -> dict[str, int]:
    """Tokens that were read and written. What the cache saved is not told: it depends on others."""
    read = sum(len(order.prompt) for order in orders)
    written = sum(len(completion.tokens) for completion in completions)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
