"""What answers have in common."""

from __future__ import annotations

import time
import uuid
from typing import Any

from intact.serve.models import Served

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
