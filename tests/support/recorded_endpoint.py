"""A stub of an endpoint of language models, whose answers a test decides; it records what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from intact.serve.background import in_background
from intact.serve.settings import ServerSettings

Reply = tuple[int, str, list[bytes]]


def chat_reply(body: dict[str, Any], text: str, width: int = 4, identifier: str = "chatcmpl-1") -> Reply:
    """Answer a chat with a text, as one JSON value or as a stream of parts of a width."""
    if not body.get("stream"):
        message = {"role": "assistant", "content": text}
        value = {
            "id": identifier, "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        }  # fmt: skip
        return 200, "application/json", [json.dumps(value).encode()]
    parts = [text[i : i + width] for i in range(0, len(text), width)]
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": part}, None) for part in parts] + [({}, "stop")]
    events = [
        {
            "id": identifier, "object": "chat.completion.chunk", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        for delta, reason in deltas
    ]  # fmt: skip
    chunks = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    return 200, "text/event-stream", [*chunks, b"data: [DONE]\n\n"]


class Endpoint:
    """An ASGI application.

    Parameters
    ----------
    answer : callable
        Returns status, content type and chunks for a path and a body.

    Attributes
    ----------
    requests : list
        Path, headers and body of each request.
    """

    def __init__(self, answer: Callable[[str, Any], Reply]) -> None:
        self.answer, self.requests, self.url = answer, list[tuple[str, dict[str, str], Any]](), ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        value = json.loads(body) if body[:1] in (b"{", b"[") else body
        self.requests.append((scope["path"], headers, value))
        status, kind, chunks = self.answer(scope["path"], value)
        start = {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]}
        await send(start)
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@contextmanager
def endpoint(answer: Callable[[str, Any], Reply]) -> Iterator[Endpoint]:
    """Run an endpoint until the block ends."""
    app = Endpoint(answer)
    with in_background(app, ServerSettings(port=0)) as url:
        app.url = url
        yield app
